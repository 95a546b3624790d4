// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two samples of times -> how many times as long the second takes, and a 95 % interval of that ratio.
//
// Both methods order what was measured and assume no distribution; an outlier moves a rank, not a mean. They work on
// logarithms, so that a ratio and its inverse are treated alike, and draw no random numbers: equal samples give equal
// intervals.
//
//   independent   Hodges and Lehmann: the median of all b/a. The interval ends at those b/a, in ascending order, that
//                 the Mann-Whitney test would just not reject.
//   paired        the median of the means of all pairs of b/a (Walsh averages); the interval is that of the Wilcoxon
//                 signed-rank test.
//
// Small samples use the exact distribution of the statistic, others its normal approximation. With fewer than 4 and 4
// independent times, or 6 pairs, no interval has 95 %: low and high are NaN.

#ifndef MOEC_CODEGEN_BENCH_RATIOINTERVAL_H
#define MOEC_CODEGEN_BENCH_RATIOINTERVAL_H

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace moec {

struct RatioInterval {
  double ratio = NAN, low = NAN, high = NAN;

  bool known() const { return !std::isnan(low); }
  bool significant() const { return low > 1 || high < 1; } // the interval excludes 1
};

// Times are positive. An empty sample gives NaN.
RatioInterval independentRatio(const std::vector<double> &a, const std::vector<double> &b);
RatioInterval pairedRatio(const std::vector<std::pair<double, double>> &pairs); // {a, b} of the same moment

// The largest k with P(statistic < k) <= 0.025 if both samples are alike: the interval goes from the k-th smallest to
// the k-th largest value. 0: there is none.
size_t mannWhitneyRank(size_t m, size_t n);
size_t signedRankRank(size_t n);

double medianOf(std::vector<double> values); // NaN: of none

} // namespace moec

#endif
