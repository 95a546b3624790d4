/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * dispatch.h - ids [T,K] in -> the four tables of a route out (moec_route_part in moec_abi.h).
 */
#ifndef MOEC_RUNTIME_LAYER_DISPATCH_H
#define MOEC_RUNTIME_LAYER_DISPATCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_route {
  int32_t *offsets;   /* [G+1] */
  int32_t *row_token; /* [T*K], the first R in use */
  int32_t *row_slot;  /* [T*K], the first R in use */
  int32_t *slot_row;  /* [T*K] */
} moec_route;

/* Groups the slots of `ids` by id, in ascending slot order within a group. An id outside 0..num_groups-1 makes no row.
 * num_tokens * choices must fit int32. O(T*K + G), allocates nothing. */
void moec_dispatch(const int32_t *ids, int64_t num_tokens, int64_t choices, int64_t num_groups,
                   const moec_route *route);

#ifdef __cplusplus
}
#endif
#endif
