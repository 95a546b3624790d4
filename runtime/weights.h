/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weights.h - the address of every role's elements in -> the packed buffer out. moec_weights_pack and
 * moec_weights_load differ only in how they find the addresses.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_H
#define MOEC_RUNTIME_WEIGHTS_H

#include "layer.h"
#include "pack.h"

/* One role: a view per expert (one view where the role has no expert axis), all with the same strides and type. */
typedef struct moec_role_source {
  const void **data; /* [experts] */
  int64_t experts;
  moec_dtype dtype;
  int64_t out_stride, in_stride;
} moec_role_source;

/* Checks that `layer` is alive, out_weights is not NULL, and the buffer is aligned and large enough. */
moec_status moec_check_weight_buffer(const moec_layer *layer, const void *buffer, size_t buffer_bytes,
                                     moec_weights **out_weights);

/* One empty source per role with room for its experts; NULL when out of memory. */
moec_role_source *moec_sources_create(const moec_plan *plan);
void moec_sources_destroy(const moec_plan *plan, moec_role_source *sources);

/* Writes header page and regions and makes the handle. All sources must be filled. */
moec_status moec_weights_from_sources(const moec_layer *layer, const moec_role_source *sources, void *buffer,
                                      moec_weights **out_weights);

/* Writes the MOEC_WEIGHTS_HEADER_BYTES bytes a packed buffer begins with. */
void moec_write_header_page(const moec_layer *layer, void *page);

/* CUDA: fills the packed buffer in device memory, padding and gaps with zeros, and waits for it. */
moec_status moec_cuda_pack(const moec_layer *layer, const moec_role_source *sources, void *buffer);

/* "[4, 6, 8]" into `text`, which is returned. */
enum { MOEC_SHAPE_TEXT = 192 };
const char *moec_shape_text(const int64_t *dims, int32_t rank, char text[MOEC_SHAPE_TEXT]);

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

#endif
