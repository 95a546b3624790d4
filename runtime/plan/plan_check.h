/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * plan_check.h - the checks moec_plan_open is made of; each returns MOEC_OK or a status whose text names the entry.
 */
#ifndef MOEC_RUNTIME_PLAN_PLAN_CHECK_H
#define MOEC_RUNTIME_PLAN_PLAN_CHECK_H

#include "runtime/plan/plan_view.h"
#include "runtime/status.h"

/* Refuses a plan that contradicts itself. */
#define MOEC_CHECK_PLAN(condition, ...)                                                                                \
  do {                                                                                                                 \
    if (!(condition))                                                                                                  \
      return moec_error(MOEC_INVALID_ARGUMENT, __VA_ARGS__);                                                           \
  } while (0)

/* Largest size, count or product a plan may reach: sums of a few hundred of them stay far below 2^63. */
#define MOEC_PLAN_LIMIT ((int64_t)1 << 46)

/* All parts, at max_tokens tokens and sequences, are in [0, MOEC_PLAN_LIMIT]. */
int moec_extent_fits(moec_extent extent, int64_t max_tokens);

/* Does `maker` run in every call in which `step` does? */
int moec_runs_with(const moec_step *maker, const moec_step *step);

/* Steps: kinds, args, routes, variants and covers. Buffers must have been checked; fills the route maps of `plan`. */
moec_status moec_check_steps(moec_plan *plan);

/* Roles: ranks, shapes, storage. */
moec_status moec_check_roles(const moec_plan *plan);

/* Weight regions of `set`, whose roles are the plan's: layouts, shapes, offsets. Every region is `matrix_layout` or a
 * vector. `blob` begins the texts: "plan". */
moec_status moec_check_weight_set(const moec_plan *plan, const moec_weight_set *set, int matrix_layout,
                                  const char *blob);

/* Address of the elements of `span`, `size` bytes each, in a blob of total_bytes bytes that begins with header_bytes of
 * header. NULL unless they lie behind the header, inside the blob, and aligned. */
const void *moec_open_span(const void *blob, size_t header_bytes, uint32_t total_bytes, moec_span span, size_t size,
                           size_t align);

#endif
