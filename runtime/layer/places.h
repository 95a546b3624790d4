/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * places.h - which tokens a group with limited places takes: the capacity, top-tokens and slots steps of moec_abi.h.
 */
#ifndef MOEC_RUNTIME_LAYER_PLACES_H
#define MOEC_RUNTIME_LAYER_PLACES_H

#include "runtime/layer/dispatch.h"
#include "runtime/moec_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One call of a capacity step; pointers that the step does not use are NULL. */
typedef struct moec_capacity_call {
  const moec_places *places;
  int64_t num_tokens, sequence_tokens, choices, num_groups;
  int64_t rank_columns;    /* n >= num_groups */
  const int32_t *ids;      /* [T,K] */
  int32_t *kept;           /* [T,K] */
  const float *keys;       /* [T] or [T,K] */
  int32_t *queue;          /* [T,K], with keys */
  const float *rank;       /* [T,n] */
  const int32_t *present;  /* [T] */
  const int32_t *capacity; /* [1] */
  int32_t *free_places;    /* [G], scratch */
} moec_capacity_call;

/* C for a scope of `tokens` tokens; `given` is the call's capacity. At least 0, at most INT32_MAX. */
int64_t moec_places_at(const moec_places *places, int64_t tokens, int64_t given);

/* Fills `kept`. Ids outside 0..G-1 (0..n-1 with rank) are copied unchanged. O(T*K), with keys O(T*K log T*K), with rank
 * O(T*K*n). Allocates nothing. */
void moec_keep_capacity(const moec_capacity_call *call);

/* mask[t,n] = 1 if t is among the largest of column n in its scope. O(T*N), allocates nothing. */
void moec_top_tokens(const moec_places *places, int64_t num_tokens, int64_t sequence_tokens, int64_t columns,
                     const float *values, const int32_t *present, int32_t *mask);

/* The tables of a route of slots: `choices` slots per sequence in `num_groups` groups. */
void moec_make_slots(int64_t num_tokens, int64_t sequence_tokens, int64_t choices, int64_t num_groups,
                     const moec_route *route);

#ifdef __cplusplus
}
#endif
#endif
