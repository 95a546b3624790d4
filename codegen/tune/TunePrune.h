// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The text of a file of records -> the same text with fewer lines: merging and pruning. A line that stays keeps its
// bytes.

#ifndef MOEC_CODEGEN_TUNE_TUNEPRUNE_H
#define MOEC_CODEGEN_TUNE_TUNEPRUNE_H

#include "codegen/tune/TuneStore.h"

#include <set>
#include <string>
#include <vector>

namespace moec {

struct DroppedLine {
  size_t line = 0; // from 1
  std::string why; // for people
};

struct PrunedText {
  std::string text; // every line with its end
  size_t kept = 0;
  std::vector<DroppedLine> dropped; // ascending
};

// Drops
//
//     lines that are no JSON object with a "schema", such as what a killed writer left
//     records that are stale for `now` (staleReason)
//     records that a later one supersedes, because it answers the same question (questionOf). A kernel that was
//     measured wrong stays wrong until another version of moec measures it. A choice is superseded only by one whose
//     kernel exists and was not measured wrong, because lookup would fall back on it.
//
// Objects that this version cannot read stay: a later version wrote them.
PrunedText pruneTuneText(llvm::StringRef text, const TuneStamp &now, llvm::StringRef templatesDir = "");

// Adds the lines of one file after another to one text: each line once, in the order of their first appearance.
class TuneMerge {
public:
  // W-TUNE, with file and line, for every line that is no JSON object with a "schema" and is left out.
  std::vector<Diagnostic> add(llvm::StringRef text, const std::string &name);

  const std::string &text() const { return merged; }
  size_t lines() const { return known.size(); }
  size_t duplicates() const { return numDuplicates; }

private:
  std::set<std::string> known;
  std::string merged;
  size_t numDuplicates = 0;
};

} // namespace moec

#endif
