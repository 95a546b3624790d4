// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layout facts come from the plan's buffers, types and regions from the op.

#include "codegen/tile/DescribeMatmul.h"

#include "codegen/fuse/NumericModes.h"
#include "codegen/plan/RouteFront.h"
#include "codegen/plan/StageArgs.h"

using namespace mlir;

namespace moec {

static Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

// Parameters are f32 vectors of n_padded elements per group (moec_abi.h).
MatmulStage describeMatmul(moe::GroupedMatmulOp op, const LaunchPlan &plan, const moec_step &step) {
  MatmulArgs<uint16_t> args = buffersOf(op, plan, step);
  const moec_weight &weight = plan.weights[plan.buffers[args.b].slot];
  MatmulStage stage;
  stage.name = plan.string(step.name).str();
  stage.n = weight.n;
  stage.k = weight.k;
  stage.parts = weight.parts;
  stage.groups = weight.groups;
  stage.panels = weight.panels;
  stage.panelBytes = int64_t(weight.k_padded) * 32 * moec_dtype_bytes(weight.dtype);
  stage.aStride = plan.buffers[args.a].row_stride;
  stage.outStride = plan.buffers[args.out].row_stride;
  if (weight.derived == MOEC_DERIVED_SHARED) {
    SharedMatrices shared = *sharedMatrices(plan.weights, weight);
    const moec_weight &owner = plan.weights[shared.owner];
    int64_t panelBytes = int64_t(owner.k_padded) * 32 * moec_dtype_bytes(owner.dtype);
    stage.transposed = {
        panelBytes * owner.panels, panelBytes, int64_t(owner.n_padded) / 16, owner.parts, shared.part, owner.k_padded};
  }
  stage.gathered = op.getGathered();
  stage.mode.routed = bool(op.getRoute());
  stage.mode.transposed = op.getTransposed();
  stage.mode.tf32 = op->hasAttr(moe::tf32Attr);
  stage.mode.unordered = op->hasAttr(moe::unorderedAttr);
  if (stage.mode.unordered)
    stage.mode.weighted = bool(cast<moe::CombineOp>(*op.getResult().user_begin()).getWeights());
  stage.in = moec_dtype(plan.buffers[args.a].dtype);
  stage.weight = moec_dtype(weight.dtype);
  stage.result = moec_dtype(plan.buffers[args.out].dtype);
  if (step.route != MOEC_NO_ROUTE)
    stage.rowsPerToken = plan.steps[step.route].choices;
  stage.weightsEarly = weightsKnownEarly(plan, size_t(&step - plan.steps.data()));
  auto describe = [&](OperandRange operands, ArrayRef<uint16_t> buffers, ArrayAttr kinds,
                      SmallVectorImpl<MatmulOperand> &out) {
    for (auto [i, operand] : llvm::enumerate(operands)) {
      const moec_buffer &b = plan.buffers[buffers[i]];
      MatmulOperand described;
      moe::OperandKind kind = moe::kindAt(kinds, unsigned(i));
      described.kind = moe::stringifyOperandKind(kind).str();
      bool packed = b.kind == MOEC_BUFFER_WEIGHT;
      described.element = packed ? Type(Float32Type::get(op.getContext())) : elementOf(operand);
      described.stride = packed ? int64_t(plan.weights[b.slot].n_padded) * 4 : b.row_stride;
      out.push_back(described);
    }
  };
  describe(op.getPrologueOperands(), args.prologue, op.getPrologueKinds(), stage.prologueOperands);
  describe(op.getEpilogueOperands(), args.epilogue, op.getEpilogueKinds(), stage.epilogueOperands);
  stage.prologue = &op.getPrologue();
  stage.epilogue = &op.getEpilogue();
  return stage;
}

} // namespace moec
