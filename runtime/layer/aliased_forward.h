/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * aliased_forward.h - a forward call whose experts share storage, for measurements of layers that do not fit into
 * memory. Not part of moec.h.
 */
#ifndef MOEC_RUNTIME_LAYER_ALIASED_FORWARD_H
#define MOEC_RUNTIME_LAYER_ALIASED_FORWARD_H

#include "runtime/moec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* moec_layer_forward, but matmuls over a route read the weights of group g % distinct_groups for group g, so that the
 * other groups need no storage; results are those of such a layer. 0: every group has its own. MOEC_UNSUPPORTED_DEVICE:
 * groups are shared on CUDA. */
moec_status moec_layer_forward_aliased(const moec_layer *layer, const moec_weights *weights,
                                       const moec_forward_args *args, uint32_t distinct_groups);

#ifdef __cplusplus
}
#endif
#endif
