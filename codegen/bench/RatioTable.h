// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pairs of times with the interval of their ratio -> a table for people, members of JSON objects.

#ifndef MOEC_CODEGEN_BENCH_RATIOTABLE_H
#define MOEC_CODEGEN_BENCH_RATIOTABLE_H

#include "BenchPass.h"
#include "RatioInterval.h"

#include "dsl/text/JsonWriter.h"

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace moec {

// One call, measured twice. Times are medians of the accepted rounds, NaN without one.
struct RatioRow {
  std::string layer; // empty: the table is of one layer
  int64_t tokens = 0;
  BenchPass pass = BenchPass::Forward;
  int threads = 1;
  std::string skew;
  bool cold = true;
  double usA = NAN, usB = NAN;
  size_t roundsA = 0, roundsB = 0; // times that the interval is made of
  RatioInterval ratio;             // of b to a
  std::string reason;              // what the interval lacks; empty: it is known
};

// "T=512", and what else tells the rows of a table apart.
std::string rowName(const RatioRow &row);

// "5.2 % slower", "4.1 % faster" where the interval excludes 1; "no difference" where it does not; else the reason.
std::string verdictOf(const RatioRow &row);

// A markdown table, one line per row.
void writeRatioTable(std::ostream &os, const std::vector<RatioRow> &rows);

// Members of the JSON object of a row, which is open.
void writeRatioMembers(JsonWriter &os, const RatioRow &row);

} // namespace moec

#endif
