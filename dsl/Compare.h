// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A computed matrix and the expected one -> does it pass, how far is it off and where.
//
// Two measures, because each misses what the other sees: the largest difference catches one wrong row among thousands,
// the normalised mean square error catches a small error in all of them.

#ifndef MOEC_DSL_COMPARE_H
#define MOEC_DSL_COMPARE_H

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

struct CompareOptions {
  double maxRel = 2e-5;  // of max|expected|
  double nmse = 0;       // 0: maxRel², the value that an error of maxRel in every element would give at worst
  double poison = 0;     // a value that untouched memory was filled with; any element equal to it fails
  bool hasPoison = false;
};

struct Comparison {
  bool pass = false;
  double maxAbs = 0;                   // max |actual - expected| over elements that are finite on both sides
  double maxRel = 0;                   // maxAbs / max|expected|
  double nmse = 0;                     // Σ (actual - expected)² / Σ expected²
  int64_t worstRow = -1, worstCol = -1; // of maxAbs, or of the first element that is refused outright; -1: none
  std::string text;                    // one line for a person: verdict, numbers, place
};

// actual, expected: [rows, cols], row-major. Fails on a wrong number of elements, on NaN, infinity or poison in
// `actual`, on an element that is not finite in `expected` only where `actual` differs in kind, and on an `expected`
// that is zero throughout while `actual` is not. 0 elements pass.
Comparison compareRows(const std::vector<double> &actual, const std::vector<double> &expected, int64_t cols,
                       const CompareOptions &options);

// Stored ids [T,K] as sets and weights [T,K] aligned by id; -1 ids and weights exactly 0 of dropped choices are left
// out of the sets. Weights may differ by options.maxRel of the largest expected weight.
Comparison compareChoices(const std::vector<int64_t> &actualIds, const std::vector<double> &actualWeights,
                          const std::vector<int64_t> &expectedIds, const std::vector<double> &expectedWeights,
                          int64_t choices, const CompareOptions &options);

} // namespace moec

#endif
