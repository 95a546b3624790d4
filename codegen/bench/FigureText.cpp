// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers in -> JSON, cells of tables and of CSV out.

#include "FigureText.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace moec {

std::string formatted(const char *form, ...) {
  va_list arguments, again;
  va_start(arguments, form);
  va_copy(again, arguments);
  int size = std::vsnprintf(nullptr, 0, form, arguments);
  std::string text(size > 0 ? size_t(size) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, form, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::string csvText(double value) { return std::isnan(value) ? "" : formatted("%.6g", value); }

void writeNumber(JsonWriter &os, std::string_view key, double value) {
  os.rawAttribute(key, std::isfinite(value) ? csvText(value) : "null");
}

std::string fixedText(double value, int digits, const char *unit) {
  return std::isnan(value) ? "-" : formatted("%.*f", digits, value) + unit;
}

} // namespace moec
