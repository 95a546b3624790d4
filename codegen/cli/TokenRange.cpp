// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a token range in -> numbers out.

#include "TokenRange.h"

#include "dsl/text/SourceText.h"

#include "llvm/ADT/SmallVector.h"

using namespace llvm;

namespace moec {

static constexpr size_t maxNumbers = 4096;

static bool parseItem(StringRef item, int64_t largest, std::vector<int64_t> &out, std::string &why) {
  int64_t first, last, step = 1;
  bool multiply = false;
  StringRef rest = item;
  if (rest.consumeInteger(10, first)) {
    why = "is not a number";
    return false;
  }
  last = first;
  if (rest.consume_front("-")) {
    if (rest.consumeInteger(10, last)) {
      why = "has no number after \"-\"";
      return false;
    }
    multiply = rest.starts_with("*");
    if ((rest.consume_front("*") || rest.consume_front("+")) && rest.consumeInteger(10, step)) {
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

Result<std::vector<int64_t>> parseTokenRange(StringRef text, int64_t largest) {
  SmallVector<StringRef> items;
  text.split(items, ',');
  std::vector<int64_t> out;
  for (StringRef item : items) {
    std::string why;
    if (!parseItem(item.trim(), largest, out, why))
      return Diagnostic::error("E-USAGE", "token range " + quoteText(item.str()) + " " + why);
  }
  return out;
}

} // namespace moec
