// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two layers measured in one process, call beside call -> the ratio of their times for each T, and its table and JSON.
//
//   probe A probe B probe B probe A probe A probe B ...     a pair is two neighbours, A B or B A
//
// Both calls of a pair see the same minute of the machine, and the order alternates, so that a drift favours neither. A
// pair counts if both of its calls do.

#ifndef MOEC_CODEGEN_BENCH_PAIRREPORT_H
#define MOEC_CODEGEN_BENCH_PAIRREPORT_H

#include "BenchReport.h"
#include "RatioTable.h"

#include <string>
#include <utility>
#include <vector>

namespace moec {

struct PairSeries {
  int64_t tokens = 0;
  BenchPass pass = BenchPass::Forward;
  std::vector<std::pair<BenchRound, BenchRound>> pairs; // {a, b}, in the order of measuring
};

// Where a layer's kernels come from, as the command line names it; all empty: the compiler's own choice.
struct PairSource {
  std::string schedule; // a file
  std::string tuning;   // files of records, or "none"
  std::string package;  // a package folder
};

struct PairRun : BenchCeilings {
  BenchContext a, b;
  PairSource sourceA, sourceB;
  bool sharedWeights = false; // both read the same packed weights
  std::vector<PairSeries> series;
};

// Times of the pairs that count, {a, b}: all of them, or mostRoundTimes at equal distances.
std::vector<std::pair<double, double>> acceptedPairs(const PairSeries &series, const ProbeResult &best);

// One row per T and pass.
RatioRow ratioOf(const PairRun &run, const PairSeries &series);

// `json`: one document; otherwise what differs, a markdown table and how it was measured.
void writePairReport(std::ostream &os, const PairRun &run, bool json);

} // namespace moec

#endif
