// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two files of results -> the ratio of their times, call by call, and everything else in which they differ.
//
// Results belong together if T, threads, routing and cold or warm weights are equal, and the layer's name where one of
// the files holds several layers. Several results of one call, lines of a jsonl file, are one sample.

#ifndef MOEC_CODEGEN_BENCH_BENCHCOMPARE_H
#define MOEC_CODEGEN_BENCH_BENCHCOMPARE_H

#include "BenchFile.h"
#include "RatioTable.h"

#include <ostream>
#include <string>
#include <vector>

namespace moec {

// What two results that belong together do not share, apart from times: a reason to doubt the comparison.
struct BenchDifference {
  std::string what, a, b; // "CPU"
};

struct BenchComparison {
  std::string a, b;                         // names of the files
  std::vector<BenchDifference> differences; // each once
  std::vector<RatioRow> rows;               // in the order of a
  std::vector<std::string> onlyA, onlyB;    // rowName() of what the other file does not hold
};

BenchComparison compareBenchFiles(const BenchFile &a, const BenchFile &b);

// Differences first, then the table, then what was measured only once.
void writeComparison(std::ostream &os, const BenchComparison &comparison, bool json);

} // namespace moec

#endif
