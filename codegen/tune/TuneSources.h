// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where records come from: files the user names, the file beside the spec, and those that ship with moec, in this order
// of preference.

#ifndef MOEC_CODEGEN_TUNE_TUNESOURCES_H
#define MOEC_CODEGEN_TUNE_TUNESOURCES_H

#include "codegen/tune/TuneStore.h"

#include <string>
#include <vector>

namespace moec {

enum class TuneSource { User, Project, Shipped };
const char *tuneSourceName(TuneSource source); // "user", "project", "shipped"

struct TuneItem {
  TuneRecord record;
  TuneSource source = TuneSource::User;
  size_t file = 0; // of TuneSet::files
  size_t line = 0; // from 1
};

struct TuneSet {
  std::vector<std::string> files;
  std::vector<TuneItem> items;        // by file, then by line
  std::vector<Diagnostic> complaints; // W-TUNE: lines that were skipped
  size_t skippedLines = 0;

  void add(TuneFile file, TuneSource source);
  std::string placeOf(size_t item) const; // "layer.tune.jsonl:12"
};

// "dir/layer.json" -> "dir/layer.tune.jsonl"; also for layers in .mlir, and for presets, which have no folder.
std::string projectTuneFile(const std::string &specPath);

// The records of `userFiles`, which must exist, of projectTuneFile(specPath) if there is such a file (specPath "": none
// is looked for), and the shipped ones. Errors: those of loadTuneFile.
Result<TuneSet> loadTuneSet(const std::vector<std::string> &userFiles, const std::string &specPath,
                            bool withShipped = true);

// The files of templates/tuning, which are part of the program: "templates/tuning/zen4.jsonl".
void addShippedRecords(TuneSet &set);

} // namespace moec

#endif
