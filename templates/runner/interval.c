/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * interval.c - the exact distribution of the signed-rank statistic, and order statistics of the Walsh averages.
 */
#include "interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double sorted_median(const double *sorted, size_t count) {
  return count % 2 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]);
}

double median_of(const double *values, size_t count) {
  double sorted[MAX_PAIRS];
  memcpy(sorted, values, count * sizeof(double));
  qsort(sorted, count, sizeof(double), ascending);
  return sorted_median(sorted, count);
}

/* The largest k with P(statistic < k) <= 0.025 if both are equally fast. 0: too few pairs for an interval. */
static size_t signed_rank(size_t pairs) {
  double probability[MAX_PAIRS * (MAX_PAIRS + 1) / 2 + 1] = {1};
  size_t size = pairs * (pairs + 1) / 2 + 1;
  for (size_t rank = 1; rank <= pairs; ++rank) /* each rank counts with probability one half */
    for (size_t w = size; w-- > 0;)
      probability[w] = 0.5 * (probability[w] + (w >= rank ? probability[w - rank] : 0));
  size_t k = 0;
  for (double below = probability[0]; k < size && below <= 0.025; below += probability[k])
    ++k;
  return k;
}

static span_us span_of(const double *values, size_t count) {
  span_us span = {median_of(values, count), values[0], values[0]};
  for (size_t i = 1; i < count; ++i) {
    span.low = values[i] < span.low ? values[i] : span.low;
    span.high = values[i] > span.high ? values[i] : span.high;
  }
  return span;
}

pair_times times_of(const pair_us *pairs, size_t count) {
  double standard[MAX_PAIRS] = {0}, candidate[MAX_PAIRS] = {0}, logs[MAX_PAIRS];
  double averages[MAX_PAIRS * (MAX_PAIRS + 1) / 2];
  pair_times times = {.pairs = count};
  size_t n = 0;
  for (size_t i = 0; i < count; ++i) {
    standard[i] = pairs[i].standard;
    candidate[i] = pairs[i].candidate;
    times.wins += candidate[i] < standard[i];
    logs[i] = log(candidate[i] / standard[i]);
    for (size_t j = 0; j <= i; ++j)
      averages[n++] = 0.5 * (logs[i] + logs[j]);
  }
  times.standard = span_of(standard, count);
  times.candidate = span_of(candidate, count);
  qsort(averages, n, sizeof(double), ascending);
  times.gain = times.gain_low = times.gain_high = exp(-sorted_median(averages, n)) - 1;
  size_t rank = signed_rank(count);
  if (rank && n >= 2 * rank) {
    times.gain_low = exp(-averages[n - rank]) - 1;
    times.gain_high = exp(-averages[rank - 1]) - 1;
  }
  return times;
}
