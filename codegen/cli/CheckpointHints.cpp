// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names and shapes that are near -> a sentence.

#include "CheckpointHints.h"

#include "dsl/text/Diagnostic.h"
#include "dsl/text/SourceText.h"
#include "dsl/text/Spelling.h"

#include <algorithm>
#include <optional>
#include <set>

namespace moec {

static bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

static bool beginsWith(const std::string &text, const std::string &begin) {
  return text.compare(0, begin.size(), begin) == 0;
}

// What stands before `name` at the end of other names, whole words only; the nearest to `prefix`.
static std::optional<std::string> nearestPrefix(const std::vector<std::string> &names, const std::string &prefix,
                                                const std::string &name) {
  std::optional<std::string> best;
  size_t least = SIZE_MAX;
  for (const std::string &candidate : names) {
    if (!endsWith(candidate, name))
      continue;
    std::string before = candidate.substr(0, candidate.size() - name.size());
    if (!before.empty() && before.back() != '.' && before.back() != '/')
      continue;
    size_t distance = editDistance(before, prefix);
    if (distance < least) {
      least = distance;
      best = before;
    }
  }
  return best;
}

std::string hintForMissing(const std::vector<std::string> &names, const std::string &prefix, const std::string &name) {
  if (names.empty())
    return "the checkpoint has no tensors";
  if (std::optional<std::string> before = nearestPrefix(names, prefix, name))
    return "it is there with the prefix " + quoteText(*before, 256);
  std::vector<std::string> own;
  for (const std::string &candidate : names)
    if (beginsWith(candidate, prefix))
      own.push_back(candidate.substr(prefix.size()));
  if (own.empty()) {
    std::set<std::string> begins;
    for (const std::string &candidate : names)
      begins.insert(candidate.substr(0, candidate.find_last_of('.', candidate.find_last_of('.') - 1) + 1));
    std::vector<std::string> list(begins.begin(), begins.end());
    std::optional<std::string> close = closestSpelling(prefix, list);
    return "no name begins with " + quoteText(prefix, 256) + "; " +
           (close ? "did you mean " + quoteText(*close, 256) + "?" : "the first is " + quoteText(names.front(), 256));
  }
  if (std::optional<std::string> close = closestSpelling(name, own))
    return "did you mean " + quoteText(prefix + *close, 256) + "?";
  return "";
}

std::string hintForShape(const std::vector<int64_t> &expected, const std::vector<int64_t> &found, bool matrix) {
  if (expected.size() != found.size() || !matrix || expected.size() < 2)
    return "";
  size_t out = expected.size() - 2, in = expected.size() - 1;
  for (size_t i = 0; i < out; ++i)
    if (expected[i] != found[i])
      return "";
  if (found[out] == expected[in] && found[in] == expected[out])
    return "its last two axes are swapped: change \"axes\" of the role in the spec's \"weights\"";
  bool twoInRows = found[out] == 2 * expected[out] && found[in] == expected[in];
  bool twoInColumns = found[in] == 2 * expected[in] && found[out] == expected[out];
  if (twoInRows || twoInColumns)
    return "it is twice as large, as where gate and up lie in one tensor: say with \"part\" which half, or which rows "
           "(even, odd), are the role's";
  return "";
}

} // namespace moec
