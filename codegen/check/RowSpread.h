// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An exact output and what runs with errors make of it -> how far a kernel's output may be off, row by row.
//
// P runs draw the signs of all errors anew; p[t,c] is what such a run makes of y[t,c], d = p - y:
//
//   most[t] = 2 · max over runs and columns of |d|
//   rms[t]  = (1 + 4/√n) · max over runs of rms over columns of d
//   n       = min(columns that count, I·K for y, min over runs of 3·(Σ d²)² / Σ d⁴)
//   gain    = 4 · (1 + 12/(P·T)) · max(rms over runs of Σ d·y, √Σ_t mean over runs of (Σ_c d·y)²) / Σ y²
//
// Columns count as in comparisons: those with a finite y, of weights those of experts that were chosen.
//
// Why these multiples: an error of a run has the largest size that rounding allows, which is √3 times the deviation
// of one that is uniform up to that size. 2·max is then beyond 7 deviations of a kernel's errors from 30 values on,
// and rms of many columns is within a few per cent of 1.7 times the kernel's own. Few values need more room:
// 1 + 4/√n for short rows, narrow experts and rows in which few errors are large (3·(Σd²)²/Σd⁴ is the number of
// columns if errors are normal).

#ifndef MOEC_CODEGEN_CHECK_ROWSPREAD_H
#define MOEC_CODEGEN_CHECK_ROWSPREAD_H

#include "codegen/check/Compare.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace moec {

class RowSpread {
public:
  // `want` [T, columns] is the exact output; it must outlive the spread. Values smaller than `least` do not count.
  RowSpread(const std::vector<double> &want, int64_t tokens, double least = 0);

  // One run's output; rows whose `comparable` is 0 are left out. An output of another size adds nothing.
  void add(const std::vector<double> &run, const std::vector<uint8_t> &comparable);

  size_t rows() const { return tokens; }

  // The limits. `freedom`: how many errors of its own a row has, at most.
  RowSlack slack(double freedom = HUGE_VAL) const;
  // Those of some rows, compared without the others: for the gain Σ goes over these rows, and what moves all rows alike
  // is taken from all.
  RowSlack slackOf(const std::vector<int64_t> &some, double freedom = HUGE_VAL) const;

private:
  double sizeOf(size_t row) const; // Σ y²
  const std::vector<double> &want;
  size_t tokens, columns;
  double least;
  std::vector<double> counted, most, rms, errors, alongRows;
  double alongAll = 0, runs = 0;
};

// P for rows of `columns` columns: 4, but 8 below 32 columns, 16 below 8, and 2 above 10 million multiplications of a
// run (`work`), because rows are long there.
int64_t disturbedRuns(int64_t columns, double work);

} // namespace moec

#endif
