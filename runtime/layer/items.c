/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * items.c - a counting sort of row blocks by variant: count, prefix sum, fill.
 */
#include "runtime/layer/items.h"

#include <string.h>

/* Rows of each block of a group of n rows: b = ceil(n/max_rows) blocks of nearly equal size, a multiple of
 * row_multiple.
 *
 * NOTE: equal blocks instead of full ones and a rest, because a short rest costs nearly a full block. */
static int32_t rows_per_block(const moec_isa_variants *isa, int64_t n) {
  int64_t max_rows = isa->max_rows, multiple = isa->row_multiple;
  int64_t blocks = (n + max_rows - 1) / max_rows;
  int64_t rows = (n + blocks - 1) / blocks;
  rows = (rows + multiple - 1) / multiple * multiple;
  return (int32_t)(rows < max_rows ? rows : max_rows);
}

void moec_items_build(const moec_isa_variants *isa, const uint8_t *cover, const int32_t *offsets, int64_t num_groups,
                      int32_t num_panels, moec_item_list *list) {
  int64_t next[MOEC_MAX_VARIANTS] = {0};
  for (int64_t g = 0; g < num_groups; ++g) {
    int32_t n = offsets[g + 1] - offsets[g];
    int32_t block = n > 0 ? rows_per_block(isa, n) : 1;
    for (int64_t row = 0; row < n; row += block)
      ++next[cover[(n - row < block ? n - row : block) - 1]];
  }
  int64_t total = 0;
  for (uint32_t v = 0; v < isa->num_variants; ++v) {
    int64_t count = next[v];
    list->variant_first[v] = next[v] = total;
    total += count;
  }
  list->variant_first[isa->num_variants] = total;
  list->num_variants = (int32_t)isa->num_variants;
  list->num_items = total;
  for (int64_t g = 0; g < num_groups; ++g) {
    int32_t n = offsets[g + 1] - offsets[g];
    int32_t block = n > 0 ? rows_per_block(isa, n) : 1;
    for (int64_t row = 0; row < n; row += block) {
      int32_t rows = (int32_t)(n - row < block ? n - row : block);
      list->items[next[cover[rows - 1]]++] =
          (moec_item){(int32_t)g, (int32_t)(offsets[g] + row), rows, 0, num_panels, 0};
    }
  }
}

void moec_items_split(moec_item_list *list, int32_t num_panels, int32_t num_workers) {
  int64_t wanted = (int64_t)MOEC_ITEMS_PER_WORKER * num_workers;
  if (num_workers <= 1 || list->num_items == 0 || list->num_items >= wanted)
    return;
  int64_t parts = wanted / list->num_items;
  if (parts > num_panels)
    parts = num_panels;
  for (int64_t i = list->num_items - 1; i >= 0; --i) {
    moec_item whole = list->items[i];
    for (int64_t p = parts - 1; p >= 0; --p) {
      int32_t first = (int32_t)(num_panels * p / parts), last = (int32_t)(num_panels * (p + 1) / parts);
      moec_item *item = &list->items[i * parts + p];
      *item = whole;
      item->panel0 = first;
      item->panels = last - first;
    }
  }
  list->num_items *= parts;
  for (int32_t v = 0; v <= list->num_variants; ++v)
    list->variant_first[v] *= parts;
}
