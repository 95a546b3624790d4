/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_file.h - a plan and open checkpoints in -> the bytes that moec_weights_map takes out. Needs no layer, so that
 * weights can be packed where the layer cannot run.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_PACK_FILE_H
#define MOEC_RUNTIME_WEIGHTS_PACK_FILE_H

#include "runtime/threads.h"
#include "runtime/weights/checkpoint_set.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Packs into host memory, `buffer` of set->packed_bytes bytes, page-aligned. `set` is the layout: the plan's own, or
 * that of its CUDA plan. Runs on `pool`, or on the calling thread if it is NULL. Errors as of moec_weights_load; the
 * buffer is then as before. */
moec_status moec_pack_checkpoints(const moec_plan *plan, const moec_weight_set *set, moec_checkpoint_set *checkpoints,
                                  moec_pool *pool, void *buffer);

#ifdef __cplusplus
}
#endif
#endif
