// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The numbers of runtime/plan/weight_layout.h for kernels that read single elements of packed panels.

#ifndef MOEC_CODEGEN_PLAN_PANELLAYOUT_H
#define MOEC_CODEGEN_PLAN_PANELLAYOUT_H

#include "runtime/plan/weight_layout.h"

namespace moec {

constexpr int64_t panelColumns = MOEC_PANEL_COLUMNS, halfPanel = MOEC_HALF_PANEL, panelDepth = MOEC_BLOCK_K,
                  tileElements = MOEC_TILE_ELEMENTS;

} // namespace moec

#endif
