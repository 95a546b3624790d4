// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fused moe.grouped_matmul and its place in the plan -> the MatmulStage for which a kernel template is instantiated.

#ifndef MOEC_CODEGEN_TILE_DESCRIBEMATMUL_H
#define MOEC_CODEGEN_TILE_DESCRIBEMATMUL_H

#include "codegen/moe/MoeDialect.h"
#include "codegen/plan/LaunchPlan.h"
#include "codegen/tile/MatmulStage.h"

namespace moec {

// `step` is the op's step in `plan`. The regions stay owned by `op`.
MatmulStage describeMatmul(moe::GroupedMatmulOp op, const LaunchPlan &plan, const moec_step &step);

} // namespace moec

#endif
