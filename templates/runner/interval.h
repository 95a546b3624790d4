/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * interval.h - times of a default and a candidate, pair by pair -> what a record says of them.
 *
 * The ratio is the median of the means of all pairs of candidate/default, its 95 % interval that of the Wilcoxon
 * signed-rank test: the method of codegen/bench/RatioInterval.h, so that records of both can be compared.
 */
#ifndef RUNNER_INTERVAL_H
#define RUNNER_INTERVAL_H

#include <stddef.h>

enum { MAX_PAIRS = 40 };

typedef struct pair_us {
  double standard, candidate; /* microseconds */
} pair_us;

typedef struct span_us {
  double median, low, high;
} span_us;

typedef struct pair_times {
  span_us standard, candidate;
  size_t pairs, wins;               /* wins: the candidate was faster */
  double gain, gain_low, gain_high; /* default / candidate - 1; the interval is the gain itself below 6 pairs */
  double flops, bytes;              /* of one run; the caller sets them */
} pair_times;

double median_of(const double *values, size_t count);
pair_times times_of(const pair_us *pairs, size_t count); /* 1 to MAX_PAIRS */

#endif
