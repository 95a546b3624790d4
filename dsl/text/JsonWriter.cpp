// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values in -> text with commas, line ends and escapes out.

#include "dsl/text/JsonWriter.h"

#include "dsl/text/SourceText.h"

#include <charconv>
#include <cmath>

namespace moec {

void JsonWriter::line() {
  if (indent)
    out << '\n' << std::string(indent * counts.size(), ' ');
}

void JsonWriter::before() {
  if (counts.empty())
    return;
  if (counts.back()++)
    out << ',';
  line();
}

void JsonWriter::name(std::string_view key) {
  before();
  printText(key);
  out << (indent ? ": " : ":");
}

void JsonWriter::printNumber(double v) {
  char digits[32];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, v);
  bool number = std::isfinite(v) && error == std::errc();
  out << (number ? std::string_view(digits, size_t(end - digits)) : std::string_view("null"));
}

void JsonWriter::printText(std::string_view text) {
  static const char hex[] = "0123456789abcdef";
  out << '"';
  while (!text.empty()) {
    Utf8Char next = decodeUtf8(text);
    char c = text.front();
    if (!next.valid)
      out << "\xef\xbf\xbd";
    else if (c == '"' || c == '\\')
      out << '\\' << c;
    else if (c == '\n')
      out << "\\n";
    else if (c == '\t')
      out << "\\t";
    else if (c == '\r')
      out << "\\r";
    else if (static_cast<unsigned char>(c) < 0x20)
      out << "\\u00" << hex[c >> 4] << hex[c & 15];
    else
      out << text.substr(0, next.bytes);
    text.remove_prefix(next.bytes);
  }
  out << '"';
}

} // namespace moec
