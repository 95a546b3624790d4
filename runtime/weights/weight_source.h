/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weight_source.h - where the elements of each role are: in tensors that the caller passed, or in a checkpoint.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_WEIGHT_SOURCE_H
#define MOEC_RUNTIME_WEIGHTS_WEIGHT_SOURCE_H

#include "runtime/plan/plan_view.h"
#include "runtime/weights/checkpoint_set.h"
#include "runtime/weights/pack.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One role: a view per expert (one view where the role has no expert axis), all with the same strides and type. */
typedef struct moec_role_source {
  const void **data; /* [experts] */
  int64_t experts;
  int64_t given; /* how many of `data` are set */
  moec_dtype dtype;
  int64_t out_stride, in_stride;
} moec_role_source;

/* One empty source per role with room for its experts; NULL when out of memory. */
moec_role_source *moec_sources_create(const moec_plan *plan);
void moec_sources_destroy(const moec_plan *plan, moec_role_source *sources); /* `sources` may be NULL */

/* Points every role's source into the caller's tensors, ROLE or ROLE.e for every expert. The packed bytes at `buffer`
 * may not overlap a tensor. Errors as moec_weights_pack documents them. */
moec_status moec_sources_from_tensors(const moec_plan *plan, const moec_tensor *tensors, size_t count,
                                      const void *buffer, uint64_t packed_bytes, moec_role_source *sources);

/* Points every role's source into open checkpoints, which must outlive the sources. Errors as moec_weights_load
 * documents them. */
moec_status moec_sources_from_checkpoints(const moec_plan *plan, moec_checkpoint_set *set, moec_role_source *sources);

moec_view moec_view_of(const moec_role_source *source, int64_t expert);

/* The source of one group of one part of a region: a view, and the region's weight with the part's own n and k. */
typedef struct moec_group_source {
  moec_view view;
  moec_weight weight;
} moec_group_source;
moec_group_source moec_source_of_group(const moec_plan *plan, const moec_role_source *sources,
                                       const moec_weight *weight, int64_t part, int64_t group);

/* Splits a role's dims: experts (1 without expert axis), out and in extents (1 where it has no such axis). */
typedef struct moec_role_extent {
  int64_t experts, out, in;
} moec_role_extent;
moec_role_extent moec_extent_of_role(const moec_role *role);

/* Whether a role's elements are ids of experts, which short floats round to other ids. */
int moec_holds_ids(const moec_plan *plan, const moec_role *role);

/* "[4, 6, 8]" into `text`, which is returned; of a longer shape the first MOEC_FILE_MAX_RANK dims and "...". */
enum { MOEC_SHAPE_TEXT = 192 };
const char *moec_shape_text(const int64_t *dims, int32_t rank, char text[MOEC_SHAPE_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
