// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages -> launch plan: buffers, steps with their arguments, packed weights. planKernels (KernelJobs.h) adds
// variants and covers from the schedule; generated kernels add the scratch size.

#ifndef MOEC_CODEGEN_PLAN_PLANSTAGES_H
#define MOEC_CODEGEN_PLAN_PLANSTAGES_H

#include "codegen/plan/LaunchPlan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moec {

struct PlanOptions {
  int64_t maxTokens = 8192;
  const LaunchPlan *forward = nullptr; // of a backward pass: whose roles and weights the plan begins with
};

// StepArgs.h has the arguments of each kind of step; a slots step has none. A parameter used twice in the same form is
// packed once. Rows of a workspace result of a matmul, combine or slot_inputs begin every row_stride bytes, a multiple
// of 64, unless a reader needs rows without gaps. All other buffers have no gaps. A counts step, which runs on request,
// follows the dispatch of the experts. Failure emits an error on the op at fault:
//
//   P1  moe.storage names known stack, axes and part, and a stack only for roles with an expert axis
//   P2  y, logits, ids and weights are each made by a stage of their own; y has the columns of x
//   P3  at most 256 buffers, 256 steps, 64 arguments of a step, 16 routes, and sizes within 2^52 bytes
//   P4  a parameter is either a matrix (B of matmuls) or a vector of f32, and not x
//   P5  ids, weights and the inputs expert_ids and expert_weights have the same number of columns, the layer's top_k
//   P6  moe.layer's spec_hash is 64 hex digits
//   P7  logits, probabilities and the input noise have the same number of columns, the layer's num_logits
mlir::LogicalResult planStages(mlir::func::FuncOp layer, const PlanOptions &options, LaunchPlan &plan);

// After the schedule has filled every step's ISA variants: sets header.isa_mask (ISAs that all kernel steps have) and
// header.items = max over steps and ISAs of ceil(K / max_rows) per token + G.
void finishSchedule(LaunchPlan &plan);

} // namespace moec

#endif
