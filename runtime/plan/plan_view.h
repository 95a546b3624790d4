/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * plan_view.h - a package's blob in -> typed pointers into it out. moec_plan_open proves that every index, span and
 * string is in range; the rest of the runtime reads plans through this view and does not check again.
 */
#ifndef MOEC_RUNTIME_PLAN_PLAN_VIEW_H
#define MOEC_RUNTIME_PLAN_PLAN_VIEW_H

#include "runtime/moec.h"
#include "runtime/moec_abi.h"
#include "runtime/moec_outputs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds of what forward keeps on its stack. */
enum {
  MOEC_MAX_ROLES = 65535,
  MOEC_MAX_BUFFERS = 256,
  MOEC_MAX_STEPS = 256,
  MOEC_MAX_STEP_ARGS = 64,
  MOEC_MAX_ROUTES = 16,
  MOEC_MAX_VARIANTS = 256
};

/* The regions of one device's packed weights: the plan's own on the CPU, the CUDA plan's on a GPU. Both have the same
 * number, so that a buffer's slot means the same region. */
typedef struct moec_weight_set {
  const moec_weight *weights;
  uint32_t count;
  uint64_t packed_bytes;
} moec_weight_set;

typedef struct moec_plan {
  const moec_plan_header *header;
  const moec_buffer *buffers;
  const moec_step *steps;
  const uint16_t *args;
  const uint8_t *covers;
  const moec_role *roles;
  moec_weight_set weight_set;
  const char *strings;
  const moec_kernel_fn *functions;
  uint64_t num_functions;
  int32_t buffer_of_role[MOEC_NUM_BUFFER_ROLES]; /* buffer the caller names by a role, -1 none */
  int32_t num_routes;
  int32_t route_of_step[MOEC_MAX_STEPS]; /* steps that make a route, counted from 0; -1 for others */
  int32_t step_of_route[MOEC_MAX_ROUTES];
} moec_plan;

/* MOEC_VERSION_MISMATCH for another ABI, MOEC_INVALID_ARGUMENT for a blob that contradicts itself; the text names
 * the entry. `package` must outlive the plan. */
moec_status moec_plan_open(const moec_package *package, moec_plan *out_plan);

static inline int64_t moec_extent_at(moec_extent extent, int64_t num_tokens, int64_t num_sequences) {
  return extent.per_token * num_tokens + extent.per_sequence * num_sequences + extent.fixed;
}

/* Arrays whose columns the caller knows by moec_layer_info.num_logits: equal in a checked plan. */
static const uint16_t moec_logit_roles[] = {MOEC_ROLE_LOGITS, MOEC_ROLE_PROBABILITIES, MOEC_ROLE_NOISE};
enum { MOEC_NUM_LOGIT_ROLES = sizeof(moec_logit_roles) / sizeof(moec_logit_roles[0]) };

/* Their columns; 0: the layer has none of them. */
static inline int64_t moec_logit_columns(const moec_plan *plan) {
  for (int i = 0; i < MOEC_NUM_LOGIT_ROLES; ++i)
    if (plan->buffer_of_role[moec_logit_roles[i]] >= 0)
      return plan->buffers[plan->buffer_of_role[moec_logit_roles[i]]].bytes.per_token / 4;
  return 0;
}

/* Positions of the args of a capacity step, by moec_capacity_arg; -1 for those that it does not have. Returns their
 * number. */
static inline int32_t moec_capacity_positions(const moec_places *places, int32_t positions[MOEC_CAPACITY_NUM_ARGS]) {
  int32_t next = 0;
  for (int32_t arg = 0; arg < MOEC_CAPACITY_NUM_ARGS; ++arg) {
    int keyed = arg == MOEC_CAPACITY_KEYS || arg == MOEC_CAPACITY_QUEUE;
    int missing = (keyed && !(places->flags & MOEC_PLACES_KEYS)) ||
                  (arg == MOEC_CAPACITY_RANK && !(places->flags & MOEC_PLACES_NEXT)) ||
                  (arg == MOEC_CAPACITY_PRESENT && !(places->flags & MOEC_PLACES_PRESENT)) ||
                  (arg == MOEC_CAPACITY_CAPACITY && places->mode != MOEC_PLACES_GIVEN);
    positions[arg] = missing ? -1 : next++;
  }
  return next;
}

/* Dispatch and slots: steps that make a route. */
static inline int moec_makes_route(const moec_step *step) {
  return step->kind == MOEC_STEP_DISPATCH || step->kind == MOEC_STEP_SLOTS;
}

#ifdef __cplusplus
}
#endif
#endif
