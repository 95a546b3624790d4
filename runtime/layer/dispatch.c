/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * dispatch.c - a counting sort of slots by id that needs no memory but its result.
 *
 * offsets[g] is first the number of rows of group g-1, then the next free row of group g, which ends as the first row
 * of group g+1: moved up by one place it is the table.
 */
#include "runtime/layer/dispatch.h"

#include <string.h>

static int in_range(int32_t id, int64_t num_groups) { return id >= 0 && id < num_groups; }

void moec_dispatch(const int32_t *ids, int64_t num_tokens, int64_t choices, int64_t num_groups,
                   const moec_route *route) {
  int64_t num_slots = num_tokens * choices;
  int32_t *offsets = route->offsets;
  memset(offsets, 0, (size_t)(num_groups + 1) * sizeof(*offsets));
  for (int64_t slot = 0; slot < num_slots; ++slot)
    if (in_range(ids[slot], num_groups))
      ++offsets[ids[slot] + 1];
  for (int64_t g = 0; g < num_groups; ++g)
    offsets[g + 1] += offsets[g];
  int64_t slot = 0;
  for (int32_t token = 0; token < num_tokens; ++token)
    for (int64_t j = 0; j < choices; ++j, ++slot) {
      int32_t id = ids[slot];
      if (!in_range(id, num_groups)) {
        route->slot_row[slot] = -1;
        continue;
      }
      int32_t row = offsets[id]++;
      route->row_token[row] = token;
      route->row_slot[row] = (int32_t)slot;
      route->slot_row[slot] = row;
    }
  memmove(offsets + 1, offsets, (size_t)num_groups * sizeof(*offsets));
  offsets[0] = 0;
}
