// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers in -> JSON, cells of tables and of CSV out.

#include "FigureText.h"

#include "llvm/Support/Format.h"

#include <cmath>

namespace moec {

std::string csvText(double value) {
  std::string text;
  if (!std::isnan(value))
    llvm::raw_string_ostream(text) << llvm::format("%.6g", value);
  return text;
}

void writeNumber(llvm::json::OStream &os, llvm::StringRef key, double value) {
  os.attributeBegin(key);
  if (std::isfinite(value))
    os.rawValue(csvText(value));
  else
    os.value(nullptr);
  os.attributeEnd();
}

std::string fixedText(double value, int digits, const char *unit) {
  if (std::isnan(value))
    return "-";
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.*f", digits, value) << unit;
  return text;
}

} // namespace moec
