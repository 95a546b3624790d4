// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytes of an input file -> lines, columns and text that is safe to print.

#ifndef MOEC_DSL_TEXT_SOURCETEXT_H
#define MOEC_DSL_TEXT_SOURCETEXT_H

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// A place in a text. Lines and columns count from 1, columns in characters as editors do; 0 = no place.
struct SourcePlace {
  size_t line = 0, column = 0, length = 0;
};

// The UTF-8 character at the start of `text` (not empty): its bytes and code point. Each invalid byte is one character
// with code point 0xfffd.
struct Utf8Char {
  size_t bytes;
  char32_t code;
  bool valid;
};
Utf8Char decodeUtf8(std::string_view text);

// `text` with control characters, invalid UTF-8 and directional overrides, which a terminal could act on, replaced by
// \xNN or \uNNNN.
std::string escaped(std::string_view text);

// escaped() between double quotes, cut after `limit` characters.
std::string quoteText(std::string_view text, size_t limit = 64);

// A text cut into lines. Immutable; keeps its own copy.
class SourceText {
public:
  SourceText() = default;
  explicit SourceText(std::string text);

  SourcePlace place(size_t offset, size_t length) const; // byte offset; length is clipped to the line
  std::string_view line(size_t number) const;            // without its end; empty beyond the last one
  std::string_view text() const { return bytes; }

private:
  std::string bytes;
  std::vector<size_t> starts; // byte offset of each line
};

} // namespace moec

#endif
