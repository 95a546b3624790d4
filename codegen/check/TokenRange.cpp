// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a token range in -> numbers out.

#include "codegen/check/TokenRange.h"

#include "dsl/text/SourceText.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace moec {

static constexpr size_t maxNumbers = 4096;

// Takes the number, or the character, at the start of `rest`; false: there is none.
static bool takeNumber(std::string_view &rest, int64_t &out) {
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out);
  if (error != std::errc())
    return false;
  rest.remove_prefix(size_t(end - rest.data()));
  return true;
}

static bool take(std::string_view &rest, char c) {
  if (rest.empty() || rest.front() != c)
    return false;
  rest.remove_prefix(1);
  return true;
}

static bool parseItem(std::string_view item, int64_t largest, std::vector<int64_t> &out, std::string &why) {
  int64_t first, last, step = 1;
  bool multiply = false;
  std::string_view rest = item;
  if (!takeNumber(rest, first)) {
    why = "is not a number";
    return false;
  }
  last = first;
  if (take(rest, '-')) {
    if (!takeNumber(rest, last)) {
      why = "has no number after \"-\"";
      return false;
    }
    multiply = take(rest, '*');
    if ((multiply || take(rest, '+')) && !takeNumber(rest, step)) {
      why = "has no number after its step sign";
      return false;
    }
  }
  if (!rest.empty())
    why = "is not of the form N, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR";
  else if (first < 0 || last < first || last > largest)
    why = "is outside 0.." + std::to_string(largest) + " or runs backwards";
  else if (step < 1 || (multiply && (step < 2 || first < 1)))
    why = "has a step that goes nowhere";
  if (!why.empty())
    return false;
  // `value <= last - step` and `value <= last / step` cannot overflow where value + step could.
  for (int64_t value = first; out.size() <= maxNumbers;) {
    out.push_back(value);
    if (multiply ? value > last / step : value > last - step)
      return true;
    value = multiply ? value * step : value + step;
  }
  why = "gives more than " + std::to_string(maxNumbers) + " numbers";
  return false;
}

static std::string_view trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n\v\f");
  return begin == std::string_view::npos ? std::string_view()
                                         : text.substr(begin, text.find_last_not_of(" \t\r\n\v\f") - begin + 1);
}

Result<std::vector<int64_t>> parseTokenRange(std::string_view text, int64_t largest) {
  std::vector<int64_t> out;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    std::string why;
    if (!parseItem(trimmed(item), largest, out, why))
      return Diagnostic::error("E-USAGE", "token range " + quoteText(item) + " " + why);
    begin = end + 1;
  }
  return out;
}

} // namespace moec
