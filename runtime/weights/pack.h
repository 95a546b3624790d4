/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack.h - one strided matrix or vector in -> its place in a packed region out (weight_layout.h).
 */
#ifndef MOEC_RUNTIME_WEIGHTS_PACK_H
#define MOEC_RUNTIME_WEIGHTS_PACK_H

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (out, in) at data + (out * out_stride + in * in_stride) * size, data of any alignment. */
typedef struct moec_view {
  const void *data;
  moec_dtype dtype; /* f32, bf16 or f16; of vectors also i32 and i64 */
  int64_t out_stride, in_stride;
} moec_view;

/* Writes all of part `part` of `group`, padding included, so that packing every part and group once writes every byte
 * of the region. Different (part, group) may be packed at the same time. */
void moec_pack_panels(const moec_weight *weight, int64_t part, int64_t group, const moec_view *view, void *region);

/* Writes rows first .. first+count-1 of one part and group of a MOEC_LAYOUT_ROWS region to `rows`, padded to k_padded
 * with zeros. `view` is that part's whole matrix. */
void moec_pack_rows(const moec_weight *weight, int64_t first, int64_t count, const moec_view *view, void *rows);

/* Writes elements first .. first+count-1 of a vector region, counted over its groups without padding; the caller has
 * zeroed the region. */
void moec_pack_vector(const moec_weight *weight, int64_t first, int64_t count, const moec_view *view, void *region);

/* sums[n] = sum over i < depth of element (n, i) squared, for `count` rows of the view; summed in float64. */
void moec_pack_squares(const moec_view *view, int64_t count, int64_t depth, float *sums);

#ifdef __cplusplus
}
#endif
#endif
