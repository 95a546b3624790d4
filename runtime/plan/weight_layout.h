/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weight_layout.h - (group, panel, depth, virtual column) in -> element offset in a packed region out.
 *
 * The map of MOEC_LAYOUT_PANELS in moec_abi.h as code; a panel is 32 virtual columns:
 *
 *   f32        | depth 0: v 0..31 | depth 1: v 0..31 | ...
 *   bf16, f16  | depths 0..31: [half v/16][pair i/2][v%16][i%2] = 2 x 512 elements | depths 32..63 | ...
 */
#ifndef MOEC_RUNTIME_PLAN_WEIGHT_LAYOUT_H
#define MOEC_RUNTIME_PLAN_WEIGHT_LAYOUT_H

#include "runtime/moec_abi.h"

enum { MOEC_PANEL_COLUMNS = 32, MOEC_HALF_PANEL = 16, MOEC_BLOCK_K = 32, MOEC_TILE_ELEMENTS = 512 };

/* Element offset from the region's start of depth `i`, virtual column `v` of panel `panel` of `group`. */
static inline int64_t moec_panel_offset(const moec_weight *weight, int64_t group, int64_t panel, int64_t i, int64_t v) {
  int64_t base = (group * (int64_t)weight->panels + panel) * (int64_t)weight->k_padded * MOEC_PANEL_COLUMNS;
  if (weight->dtype == MOEC_F32)
    return base + i * MOEC_PANEL_COLUMNS + v;
  return base + (i / MOEC_BLOCK_K) * 2 * MOEC_TILE_ELEMENTS + (v / MOEC_HALF_PANEL) * MOEC_TILE_ELEMENTS +
         (i % MOEC_BLOCK_K / 2) * MOEC_PANEL_COLUMNS + (v % MOEC_HALF_PANEL) * 2 + i % 2;
}

/* Panel and virtual column of column `n` of part `part`. */
static inline void moec_panel_column(const moec_weight *weight, int64_t part, int64_t n, int64_t *panel, int64_t *v) {
  if (weight->parts == 1) {
    *panel = n / MOEC_PANEL_COLUMNS;
    *v = n % MOEC_PANEL_COLUMNS;
  } else {
    *panel = n / MOEC_HALF_PANEL;
    *v = part * MOEC_HALF_PANEL + n % MOEC_HALF_PANEL;
  }
}

#endif
