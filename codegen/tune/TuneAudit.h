// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records -> which of them contradict themselves, each other, or the rules of schedules.

#ifndef MOEC_CODEGEN_TUNE_TUNEAUDIT_H
#define MOEC_CODEGEN_TUNE_TUNEAUDIT_H

#include "codegen/tune/TuneSources.h"

#include <map>
#include <vector>

namespace moec {

// Kernels that were measured wrong: (target, shape, code, template) -> the item that says so. A measurement by another
// version of moec that came later, for the same rows, and was right takes a kernel out again; so does another text of
// its template. Records that are stale
// for `now` do not count (null: all count).
class WrongKernels {
public:
  WrongKernels(const TuneSet &set, const TuneStamp *now, llvm::StringRef templatesDir = "");
  // The item, or nullopt.
  std::optional<size_t> find(const TuneRecord &record, const std::string &kernel) const;

  // codeOfCandidate, each text read once.
  const std::string &codeOf(const std::string &kernel, bool cuda) const;

  // Whether the template of the record's kernel is still the one that was measured. `now`: what it is instead.
  bool hasTemplate(const TuneRecord &record, std::string &now) const;

private:
  std::string keyOf(const TuneRecord &record, const std::string &kernel) const;

  std::string templatesDir;
  std::map<std::string, size_t> wrong;
  mutable std::map<std::string, std::string> codes, templates;
};

// One E-TUNE per record that has a problem, with its file and line, in the order of the set:
//
//     the target is unknown to this version, or not among the machine's instruction sets
//     low <= median <= high does not hold for a time, or for the gain; more wins than pairs; a gain that the times
//     cannot give
//     default, candidate or choice is not an entry, or an entry that is illegal for the stage and its rows (CPU)
//     a choice of a kernel that was measured wrong
std::vector<Diagnostic> auditRecords(const TuneSet &set, llvm::StringRef templatesDir = "");

} // namespace moec

#endif
