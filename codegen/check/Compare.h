// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A computed matrix and the expected one -> does it pass, how far is it off and where.
//
// Every row t is measured by its own size, so that a wrong small row beside large ones is seen. d = actual - expected:
//
//   element  |d[t,c]|                <= maxRel · max_c |expected[t,c]|  + slack.most[t]    one wrong element
//   row      rms_c d[t,c]            <= maxRel · rms_c expected[t,c]    + slack.rms[t]     a small error in a whole row
//   gain     |Σ d·expected| / Σ expected²  <= maxRel + slack.gain                          all rows too large or small
//
// The slack is what the roundings that a kernel is allowed may come to (RowSpread.h). What is compared is counted: no
// row, or no finite value in any of them, does not pass.

#ifndef MOEC_CODEGEN_CHECK_COMPARE_H
#define MOEC_CODEGEN_CHECK_COMPARE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moec {

// How far rows may be off besides the share of their own size. Empty vectors: not at all.
struct RowSlack {
  std::vector<double> most, rms; // of each row
  double gain = 0;
};

struct CompareOptions {
  double maxRel = 2e-5; // share of the row's own size
  double scale = 0;     // rows count as at least this large, for sums that cancel; 0: as they are
  RowSlack slack;
  std::vector<int64_t> names;   // of the rows, to say where; empty: 0, 1, 2 ...
  std::optional<double> poison; // what the output held before the call: an element that still does was not written
  bool mayBeUndefined = false;  // `expected` may have nothing finite; the caller looks at Comparison::values
};

struct Comparison {
  double maxAbs = 0;                    // over finite expected elements
  double maxRel = 0;                    // of |d| / max|expected| of its row; infinite for any error in a row of zeros
  double nmse = 0;                      // Σ d² / Σ expected²
  double ofLimit = 0;                   // the largest share of a limit that was used up; above 1: failed
  int64_t rows = 0, values = 0;         // compared; `values` counts only finite expected ones
  int64_t worstRow = -1, worstCol = -1; // of ofLimit (the row's name), or of the first refused element; -1: all equal
  bool pass = false;
  std::string text; // one line: verdict, numbers, place
};

// actual, expected: [rows, cols], row-major. Refused whatever the limits: another number of elements, no rows, NaN or
// infinity where `expected` is finite (where it is not, `actual` must be the same), nothing finite at all unless
// mayBeUndefined, poison where `expected` is another value, and anything but zeros in a row of zeros without slack.
Comparison compareRows(const std::vector<double> &actual, const std::vector<double> &expected, int64_t cols,
                       const CompareOptions &options);

// f32 cannot hold much smaller values: such a weight may be 0 on one side and not on the other.
constexpr double weightless = 1e-30;

// ids [T,K] as sets per token and weights [T,K] aligned by id. Slots of id -1 or of a weight below `weightless` do not
// count. Weights are compared like the elements of a row; rows are tokens, worstCol is an expert. A token without
// experts is a row that passes when it has none.
Comparison compareChoices(const std::vector<int64_t> &actualIds, const std::vector<double> &actualWeights,
                          const std::vector<int64_t> &expectedIds, const std::vector<double> &expectedWeights,
                          int64_t choices, const CompareOptions &options);

} // namespace moec

#endif
