// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layout facts come from the plan's buffers, types and regions from the op.

#include "codegen/tile/DescribeMatmul.h"

#include "codegen/fuse/NumericModes.h"

using namespace mlir;

namespace moec {

static Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

// Arguments: A, B, OUT, row_token if gathered, prologue operands, epilogue operands (moec_abi.h: parameters are f32
// vectors of n_padded elements per group).
MatmulStage describeMatmul(moe::GroupedMatmulOp op, const LaunchPlan &plan, const moec_step &step) {
  auto buffer = [&](unsigned i) -> const moec_buffer & { return plan.buffers[plan.args[step.first_arg + i]]; };
  const moec_weight &weight = plan.weights[buffer(1).slot];
  MatmulStage stage;
  stage.name = plan.string(step.name).str();
  stage.n = weight.n;
  stage.k = weight.k;
  stage.parts = weight.parts;
  stage.groups = weight.groups;
  stage.panels = weight.panels;
  stage.panelBytes = int64_t(weight.k_padded) * 32 * moec_dtype_bytes(weight.dtype);
  stage.aStride = buffer(0).row_stride;
  stage.outStride = buffer(2).row_stride;
  stage.gathered = op.getGathered();
  stage.mode.routed = bool(op.getRoute());
  stage.mode.tf32 = op->hasAttr(moe::tf32Attr);
  stage.mode.unordered = op->hasAttr(moe::unorderedAttr);
  if (stage.mode.unordered)
    stage.mode.weighted = bool(cast<moe::CombineOp>(*op.getResult().user_begin()).getWeights());
  stage.in = elementOf(op.getA());
  stage.weight = elementOf(op.getB().front());
  stage.result = elementOf(op.getResult());
  unsigned next = stage.gathered ? 4 : 3;
  auto describe = [&](OperandRange operands, ArrayAttr kinds, SmallVectorImpl<MatmulOperand> &out) {
    for (auto [i, operand] : llvm::enumerate(operands)) {
      const moec_buffer &b = buffer(next++);
      MatmulOperand described;
      moe::OperandKind kind = moe::kindAt(kinds, unsigned(i));
      described.kind = moe::stringifyOperandKind(kind).str();
      bool packed = b.kind == MOEC_BUFFER_WEIGHT;
      described.element = packed ? Type(Float32Type::get(op.getContext())) : elementOf(operand);
      described.stride = packed ? int64_t(plan.weights[b.slot].n_padded) * 4 : b.row_stride;
      out.push_back(described);
    }
  };
  describe(op.getPrologueOperands(), op.getPrologueKinds(), stage.prologueOperands);
  describe(op.getEpilogueOperands(), op.getEpilogueKinds(), stage.epilogueOperands);
  stage.prologue = &op.getPrologue();
  stage.epilogue = &op.getEpilogue();
  return stage;
}

} // namespace moec
