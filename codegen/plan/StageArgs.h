// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fused stage in -> the arguments of its step, each as what it is in the stage.

#ifndef MOEC_CODEGEN_PLAN_STAGEARGS_H
#define MOEC_CODEGEN_PLAN_STAGEARGS_H

#include "codegen/moe/MoeDialect.h"
#include "codegen/plan/LaunchPlan.h"
#include "codegen/plan/StepArgs.h"

namespace moec {

struct StageArg {
  // The value itself; the packed matrices of the matmul whose first is the value; or a table of the route that it is.
  enum Kind { Buffer, Matrices, RowToken, RowSlot, SlotRow, Offsets };
  mlir::Value value;
  Kind kind = Buffer;
};

MatmulArgs<StageArg> argsOf(moe::GroupedMatmulOp op);
RowProgramArgs<StageArg> argsOf(moe::RowProgramOp op);
CombineArgs<StageArg> argsOf(moe::CombineOp op);
DispatchArgs<StageArg> argsOf(moe::DispatchOp op);
CapacityArgs<StageArg> argsOf(moe::CapacityOp op);
TopTokensArgs<StageArg> argsOf(moe::TopTokensOp op);
ColumnsArgs<StageArg> argsOf(moe::TokenReduceOp op);
ColumnsArgs<StageArg> argsOf(moe::TokenTotalOp op);
SlotInputsArgs<StageArg> argsOf(moe::SlotInputsOp op);
OuterArgs<StageArg> argsOf(moe::GroupedOuterOp op);
GroupSumArgs<StageArg> argsOf(moe::GroupSumOp op);
SlotValuesArgs<StageArg> argsOf(moe::SlotValuesOp op);
SlotProductsArgs<StageArg> argsOf(moe::SlotProductsOp op);
ParameterSumArgs<StageArg> argsOf(moe::ParameterSumOp op);
ScaledRowsArgs<StageArg> argsOf(moe::ScaledRowsOp op);

// The buffers of `step`, which is the step of `op`, by name.
template <typename Op> auto buffersOf(Op op, const LaunchPlan &plan, const moec_step &step) {
  return bindArgs(argsOf(op), plan.argsOf(step));
}

} // namespace moec

#endif
