/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * items.h - rows per group and a cover in -> sorted items of one matmul step out (moec_isa_variants in moec_abi.h).
 */
#ifndef MOEC_RUNTIME_LAYER_ITEMS_H
#define MOEC_RUNTIME_LAYER_ITEMS_H

#include "runtime/moec_abi.h"
#include "runtime/plan/plan_view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_item_list {
  moec_item *items; /* the caller's array                                           */
  int64_t num_items;
  int32_t num_variants;
  int64_t variant_first[MOEC_MAX_VARIANTS + 1]; /* items of variant v: variant_first[v] .. variant_first[v+1]-1 */
} moec_item_list;

/* Fills list->items with the blocks of every group, sorted by variant, then group, then row.
 * `offsets` [num_groups+1] as in a route; the array must hold min(R, R/max_rows + G) items. */
void moec_items_build(const moec_isa_variants *isa, const uint8_t *cover, const int32_t *offsets, int64_t num_groups,
                      int32_t num_panels, moec_item_list *list);

/* Splits every item's columns into the same number of parts when there are fewer than MOEC_ITEMS_PER_WORKER items per
 * worker, into at most that many items; parts of an item follow each other. Bits do not depend on it: no sum crosses
 * columns. */
void moec_items_split(moec_item_list *list, int32_t num_panels, int32_t num_workers);

#ifdef __cplusplus
}
#endif
#endif
