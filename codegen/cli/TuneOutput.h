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
  const StageSearch *search = nullptr;
  const StageSchedule *schedule = nullptr;
  SearchOutcome outcome;
};

struct TuneSummaryLines {
  std::vector<TunedRow> outcomes; // every row range, in the order of the search
  size_t stages = 0, measurements = 0, wrong = 0, failed = 0;

  size_t changed() const;
  size_t notReached() const; // ranges that were not searched to their end
  size_t crashed() const;    // candidates that ended with a signal
  size_t stuck() const;      // candidates that never returned
};

// "experts_gate_up avx512_bf16 rows 9..12   block_m 12 -> 6    +6.1 % (+5.4 .. +6.8)   11 of 11 pairs"
void printRange(llvm::raw_ostream &os, const TunedRow &row, const std::string &templatesDir);

// How far the defaults are from the best, how many kernels are left, and what the run measured.
void printTuneEnd(llvm::raw_ostream &os, const TuneSummaryLines &summary, const std::string &recordsFile);

void writeTuneJson(llvm::raw_ostream &os, const TuneSummaryLines &summary);

} // namespace moec

#endif
