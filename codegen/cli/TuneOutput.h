// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `moec tune` found -> lines for people, and the document of --json.

#ifndef MOEC_CODEGEN_CLI_TUNEOUTPUT_H
#define MOEC_CODEGEN_CLI_TUNEOUTPUT_H

#include "codegen/search/TuneSearch.h"

#include "llvm/Support/raw_ostream.h"

#include <string>
#include <vector>

namespace moec {

struct TunedRow {
  StageSearch *search = nullptr;
  const StageSchedule *schedule = nullptr;
  SearchOutcome outcome;
};

// How far the search was after a row range.
struct TuneProgress {
  double seconds = 0; // since the beginning
  double mean = 1;    // time of the defaults over that of what is chosen, geometric mean over all row ranges
};

struct TuneSummaryLines {
  std::vector<TunedRow> outcomes; // every row range, in the order of the search
  std::vector<TuneProgress> progress;
  std::vector<std::string> failures; // candidates of this run that are wrong, failed or never returned, and why
  size_t stages = 0, measurements = 0, wrong = 0, failed = 0;
  size_t backwardStages = 0;      // of `stages`
  std::vector<std::string> fixed; // names of stages that have nothing to tune (StageCompiler::fixedStages)

  size_t changed() const;
  void noteProgress(double seconds, size_t ranges); // after an outcome; `ranges`: of the whole run
  size_t notReached() const;                        // ranges that were not searched to their end
  size_t crashed() const;                           // candidates that ended with a signal
  size_t stuck() const;                             // candidates that never returned
};

// "experts_gate_up avx512_bf16 rows 9..12   block_m 12 -> 6    +6.1 % (+5.4 .. +6.8)   11 of 11 pairs"
void printRange(llvm::raw_ostream &os, const TunedRow &row, const std::string &templatesDir);

// What the run will search: "searching    7 stages, 3 of the backward pass, 12 row ranges; records of ...", and which
// stages it does not.
void printTuneBegin(llvm::raw_ostream &os, const TuneSummaryLines &summary, size_t ranges, size_t earlier);

// "not tuned    experts_down_wgrad, ...: their blocks have one size", the names those of StageCompiler::fixedStages;
// nothing where there are none.
void printFixedStages(llvm::raw_ostream &os, const std::vector<std::string> &names);

// How far the defaults are from the best, and how that grew over time; what failed and why; what the budget did not
// reach; what the run measured.
void printTuneEnd(llvm::raw_ostream &os, const TuneSummaryLines &summary, const std::string &recordsFile);

void writeTuneJson(llvm::raw_ostream &os, const TuneSummaryLines &summary);

} // namespace moec

#endif
