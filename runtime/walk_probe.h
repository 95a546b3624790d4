/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * walk_probe.h - a forward call that is watched: when each step begins, and experts that share storage. For
 * measurements inside this project; no part of moec.h. Calls without a probe read no clock and ask for it once per
 * step.
 */
#ifndef MOEC_RUNTIME_WALK_PROBE_H
#define MOEC_RUNTIME_WALK_PROBE_H

#include "moec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_walk_probe {
  /* Before step `step` of the plan, and once with the number of steps when all are done. Steps that the call does not
   * ask for are not said. Runs on one thread while no unit does. NULL: nobody listens. */
  void (*on_step)(void *context, uint32_t step);
  void *context;
  /* 0, or n: matmuls over a route read for group g the weights of group g % n, so that the others need no storage.
   * Results are those of such a layer. */
  uint32_t distinct_groups;
} moec_walk_probe;

/* moec_layer_forward of a CPU layer with a probe; MOEC_UNSUPPORTED_DEVICE on CUDA. `probe` may be NULL. */
moec_status moec_layer_forward_probed(const moec_layer *layer, const moec_weights *weights,
                                      const moec_forward_args *args, const moec_walk_probe *probe);

#ifdef __cplusplus
}
#endif
#endif
