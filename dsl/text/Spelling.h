// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A mistyped word and the words allowed -> the closest one.

#ifndef MOEC_DSL_TEXT_SPELLING_H
#define MOEC_DSL_TEXT_SPELLING_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, in bytes.
size_t editDistance(std::string_view a, std::string_view b);

// The nearest of `words`, the earlier one if distances are equal; nullopt if none is within a third of the length (at
// least 1, at most 4).
std::optional<std::string> closestSpelling(std::string_view word, const std::vector<std::string> &words);

// {"a", "b", "c"} -> "\"a\", \"b\" or \"c\"", for messages.
std::string quotedList(const std::vector<std::string> &words);

} // namespace moec

#endif
