// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lines end at \n; a \r before it belongs to the end. Columns count UTF-8 characters.

#include "dsl/text/SourceText.h"

#include <algorithm>
#include <cstdio>

namespace moec {

Utf8Char decodeUtf8(std::string_view text) {
  const Utf8Char invalid{1, 0xfffd, false};
  unsigned char first = text[0];
  if (first < 0x80)
    return {1, first, true};
  size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes)
    return invalid;
  char32_t code = first & (0xff >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    unsigned char next = text[i];
    if ((next & 0xc0) != 0x80)
      return invalid;
    code = (code << 6) | (next & 0x3f);
  }
  bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
    return invalid;
  return {bytes, code, true};
}

namespace {
bool isPrintable(char32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0))
    return false;
  // Marks that reorder or hide text: zero width, line separators, directional overrides and isolates, byte order mark.
  return !((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff);
}
} // namespace

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    Utf8Char c = decodeUtf8(text);
    if (c.valid && isPrintable(c.code)) {
      out += text.substr(0, c.bytes);
    } else {
      char buffer[16];
      if (c.valid && c.code > 0xff)
        std::snprintf(buffer, sizeof buffer, "\\u%04x", unsigned(c.code));
      else
        std::snprintf(buffer, sizeof buffer, "\\x%02x", c.valid ? unsigned(c.code) : (unsigned char)text[0]);
      out += buffer;
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::string quoteText(std::string_view text, size_t limit) {
  size_t bytes = 0;
  for (size_t count = 0; bytes < text.size() && count < limit; ++count)
    bytes += decodeUtf8(text.substr(bytes)).bytes;
  return "\"" + escaped(text.substr(0, bytes)) + (bytes < text.size() ? "...\"" : "\"");
}

SourceText::SourceText(std::string text) : bytes(std::move(text)) {
  starts.push_back(0);
  for (size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] == '\n')
      starts.push_back(i + 1);
}

std::string_view SourceText::line(size_t number) const {
  if (number == 0 || number > starts.size())
    return {};
  size_t begin = starts[number - 1];
  size_t end = number < starts.size() ? starts[number] - 1 : bytes.size();
  if (end > begin && bytes[end - 1] == '\r')
    --end;
  return std::string_view(bytes).substr(begin, end - begin);
}

SourcePlace SourceText::place(size_t offset, size_t length) const {
  if (starts.empty())
    return {};
  offset = std::min(offset, bytes.size());
  size_t index = std::upper_bound(starts.begin(), starts.end(), offset) - starts.begin() - 1;
  std::string_view whole = line(index + 1);
  size_t in = std::min(offset - starts[index], whole.size());
  SourcePlace place{index + 1, 1, 0};
  for (std::string_view before = whole.substr(0, in); !before.empty(); ++place.column)
    before.remove_prefix(decodeUtf8(before).bytes);
  for (std::string_view token = whole.substr(in, length); !token.empty(); ++place.length)
    token.remove_prefix(decodeUtf8(token).bytes);
  place.length = std::max<size_t>(place.length, 1);
  return place;
}

} // namespace moec
