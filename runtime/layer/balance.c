/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * balance.c - counts per expert in host memory -> what they say about the load, and the rules that act on it between
 * training steps. No state, no allocation.
 */
#include "runtime/moec.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* log(v) of a normal v > 0: v = 2^e * m with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh((m-1)/(m+1)) as a series, to
 * the last bit or two.
 *
 * NOTE: libmoec links against nothing but the C library proper, and log is in libm. */
static double natural_log(double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof(bits));
  int64_t exponent = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
  double m;
  memcpy(&m, &bits, sizeof(m));
  if (m > 1.4142135623730951) {
    m /= 2;
    ++exponent;
  }
  double s = (m - 1) / (m + 1), sum = 0;
  for (int k = 25; k >= 1; k -= 2)
    sum = sum * s * s + 1.0 / k;
  return (double)exponent * 0.6931471805599453 + 2 * s * sum;
}

moec_status moec_load_of_counts(const int32_t *counts, int64_t num_experts, moec_load *out_load) {
  if (!counts || !out_load)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", counts ? "out_load" : "counts");
  if (num_experts < 1)
    return moec_error(MOEC_INVALID_ARGUMENT, "num_experts is %" PRId64 ", expected at least 1", num_experts);
  moec_load load = {0};
  int32_t most = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    if (counts[e] < 0)
      return moec_error(MOEC_INVALID_ARGUMENT, "counts[%" PRId64 "] is %" PRId32 ", expected at least 0", e, counts[e]);
    load.total += counts[e];
    load.dead_experts += counts[e] == 0;
    most = counts[e] > most ? counts[e] : most;
  }
  if (load.total) {
    double mean = (double)load.total / (double)num_experts, squares = 0;
    for (int64_t e = 0; e < num_experts; ++e) {
      double share = (double)counts[e] / (double)load.total;
      load.entropy -= share > 0 ? share * natural_log(share) : 0;
      squares += (counts[e] - mean) * (counts[e] - mean);
    }
    load.variation = sqrt(squares / (double)num_experts) / mean;
    load.max_share = (double)most / (double)load.total;
  } else {
    load.dead_experts = 0;
  }
  *out_load = load;
  return MOEC_OK;
}

moec_status moec_update_choice_bias(float *bias, const int32_t *counts, int64_t num_experts, float rate,
                                    int32_t centre) {
  moec_load load;
  if (!bias)
    return moec_error(MOEC_NULL_POINTER, "bias is NULL");
  moec_status status = moec_load_of_counts(counts, num_experts, &load);
  if (status != MOEC_OK)
    return status;
  if (!(rate >= 0) || !isfinite(rate))
    return moec_error(MOEC_INVALID_ARGUMENT, "rate is %g, expected a number of at least 0", (double)rate);
  double mean = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    /* mean > count without a division: total > count * E */
    int64_t own = (int64_t)counts[e] * num_experts;
    bias[e] += load.total > own ? rate : load.total < own ? -rate : 0;
    mean += (double)bias[e] / (double)num_experts;
  }
  for (int64_t e = 0; centre && e < num_experts; ++e)
    bias[e] = (float)(bias[e] - mean);
  return MOEC_OK;
}

moec_status moec_next_capacity_factor(const int32_t *counts, int64_t num_experts, double *factor) {
  moec_load load;
  if (!factor)
    return moec_error(MOEC_NULL_POINTER, "factor is NULL");
  moec_status status = moec_load_of_counts(counts, num_experts, &load);
  if (status != MOEC_OK)
    return status;
  if (!(*factor > 0) || !isfinite(*factor))
    return moec_error(MOEC_INVALID_ARGUMENT, "factor is %g, expected a number above 0", *factor);
  if (load.total && load.variation < 0.1)
    *factor = *factor > 1.2 ? *factor - 0.1 : 1.1;
  else if (load.variation > 0.5)
    *factor = *factor < 2.9 ? *factor + 0.1 : 3.0;
  return MOEC_OK;
}
