// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Edit distance over three rolling rows; words are short, so no cleverness.

#include "dsl/text/Spelling.h"

#include <algorithm>

namespace moec {

size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replace = last[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> closestSpelling(std::string_view word, const std::vector<std::string> &words) {
  // A word this long is not a misspelling, and the distance takes quadratic time.
  if (word.empty() || word.size() > 64)
    return std::nullopt;
  size_t best = std::clamp<size_t>(word.size() / 3, 1, 4) + 1;
  const std::string *found = nullptr;
  for (const std::string &candidate : words) {
    size_t distance = editDistance(word, candidate);
    if (distance < best) {
      best = distance;
      found = &candidate;
    }
  }
  return found ? std::optional<std::string>(*found) : std::nullopt;
}

std::string quotedList(const std::vector<std::string> &words) {
  std::string text;
  for (size_t n = 0; n < words.size(); ++n)
    text += (n == 0 ? "" : n + 1 < words.size() ? ", " : " or ") + ("\"" + words[n] + "\"");
  return text;
}

} // namespace moec
