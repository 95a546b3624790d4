// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A computed matrix and the expected one -> does it pass, how far is it off and where.
//
// Two measures, because each misses what the other sees: the largest difference catches one wrong row among thousands,
// the normalised mean square error catches a small error in all of them.

#ifndef MOEC_CODEGEN_CHECK_COMPARE_H
#define MOEC_CODEGEN_CHECK_COMPARE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct CompareOptions {
  double maxRel = 2e-5;         // largest |actual - expected| / max|expected|
  std::optional<double> nmse;   // largest Σ (actual - expected)² / Σ expected²; unset: maxRel²
  double scale = 0;             // `expected` counts as at least this large, for sums that cancel; 0: as it is
  std::optional<double> poison; // what the output held before the call: an element that still does was not written
};

struct Comparison {
  double maxAbs = 0, maxRel = 0, nmse = 0; // over elements that are finite in `expected`
  int64_t worstRow = -1, worstCol = -1;    // of maxAbs, or of the first refused element; -1: all equal
  bool pass = false;
  std::string text; // one line: verdict, numbers, place
};

// actual, expected: [rows, cols], row-major; no elements pass. Refused whatever the tolerance: another number of
// elements, NaN or infinity where `expected` is finite (where it is not, `actual` must be the same), poison where
// `expected` is another value, and anything but zeros where all of `expected` is zero.
Comparison compareRows(const std::vector<double> &actual, const std::vector<double> &expected, int64_t cols,
                       const CompareOptions &options);

// ids [T,K] as sets per token and weights [T,K] aligned by id. Slots of id -1 or of a weight below
// 1e-30 do not count. Weights are compared like elements, relative to the largest expected one; rows are tokens,
// worstCol is an expert.
Comparison compareChoices(const std::vector<int64_t> &actualIds, const std::vector<double> &actualWeights,
                          const std::vector<int64_t> &expectedIds, const std::vector<double> &expectedWeights,
                          int64_t choices, const CompareOptions &options);

} // namespace moec

#endif
