/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * plan_check.h - the checks moec_plan_open is made of; each returns MOEC_OK or a status whose text names the entry.
 */
#ifndef MOEC_RUNTIME_PLAN_CHECK_H
#define MOEC_RUNTIME_PLAN_CHECK_H

#include "plan_view.h"
#include "status.h"

/* Refuses a plan that contradicts itself. */
#define MOEC_CHECK_PLAN(condition, ...)                                                                                \
  do {                                                                                                                 \
    if (!(condition))                                                                                                  \
      return moec_error(MOEC_INVALID_ARGUMENT, __VA_ARGS__);                                                           \
  } while (0)

/* Largest size, count or product a plan may reach: sums of a few hundred of them stay far below 2^63. */
#define MOEC_PLAN_LIMIT ((int64_t)1 << 46)

/* Both values and their value at max_tokens are in [0, MOEC_PLAN_LIMIT]. */
int moec_extent_fits(moec_extent extent, int64_t max_tokens);

/* Steps: kinds, args, routes, variants and covers. Buffers must have been checked; fills the route maps of `plan`. */
moec_status moec_check_steps(moec_plan *plan);

/* Roles and weight regions: shapes, layouts, offsets. */
moec_status moec_check_weights(const moec_plan *plan);

#endif
