/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * walk_probe.h - a forward call with a probe: reports when each step begins and lets experts share storage. For
 * measurements inside this project; not part of moec.h. A call without a probe only tests a pointer once per step.
 */
#ifndef MOEC_RUNTIME_LAYER_WALK_PROBE_H
#define MOEC_RUNTIME_LAYER_WALK_PROBE_H

#include "runtime/moec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_walk_probe {
  /* Called before step `step` of the plan, and once with the number of steps after the last one. Skipped steps are not
   * reported. Runs on one thread while no unit runs. NULL: no callback. */
  void (*on_step)(void *context, uint32_t step);
  void *context;
  /* If not 0, matmuls over a route read the weights of group g % distinct_groups for group g, so that the other groups
   * need no storage. Results are those of such a layer. */
  uint32_t distinct_groups;
} moec_walk_probe;

/* moec_layer_forward of a CPU layer with a probe; MOEC_UNSUPPORTED_DEVICE on CUDA. `probe` may be NULL. */
moec_status moec_layer_forward_probed(const moec_layer *layer, const moec_weights *weights,
                                      const moec_forward_args *args, const moec_walk_probe *probe);

#ifdef __cplusplus
}
#endif
#endif
