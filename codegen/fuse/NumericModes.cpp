// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Marks on stages; what they mean to a kernel is codegen/cuda's.

#include "codegen/fuse/NumericModes.h"

#include "codegen/moe/MoeDialect.h"

using namespace mlir;

namespace moec {

using namespace moe;

// The backward slice of `roots`.
static llvm::DenseSet<Operation *> sourcesOf(SmallVector<Value> roots) {
  llvm::DenseSet<Operation *> sources;
  while (!roots.empty()) {
    Operation *def = roots.pop_back_val().getDefiningOp();
    if (def && sources.insert(def).second)
      roots.append(def->operand_begin(), def->operand_end());
  }
  return sources;
}

// What decides, and what of it the layer gives away.
static SmallVector<Value> decisions(func::FuncOp layer) {
  SmallVector<Value> values;
  for (Operation &op : layer.getBody().front())
    if (isa<DispatchOp, CapacityOp, TopTokensOp>(op))
      values.append(op.operand_begin(), op.operand_end());
  Operation *end = layer.getBody().front().getTerminator();
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    StringRef role = cast<StringAttr>(layer.getResultAttr(unsigned(i), "moe.role")).getValue();
    if (role != "y" && role != "diversity") // which is made of the experts' outputs
      values.push_back(value);
  }
  return values;
}

llvm::DenseSet<Operation *> decidingStages(func::FuncOp layer) { return sourcesOf(decisions(layer)); }

static bool isF32(Value value) { return cast<RankedTensorType>(value.getType()).getElementType().isF32(); }

void markTf32(func::FuncOp layer, std::vector<FusionNote> &notes) {
  llvm::DenseSet<Operation *> exact = decidingStages(layer);
  layer.walk([&](GroupedMatmulOp op) {
    if (!isF32(op.getA()) || !isF32(op.getB().front()))
      return;
    bool rounded = !exact.contains(op);
    if (rounded)
      op->setAttr(tf32Attr, UnitAttr::get(op.getContext()));
    notes.push_back({"tf32", describeOp(op) + (rounded ? ": f32 operands are rounded to tf32 on tensor cores"
                                                       : ": exact f32, choices follow from it")});
  });
}

// Whether `value` is there before `op`; the stage that makes it is moved up where its inputs are.
static bool isReadyBefore(Value value, Operation *op) {
  Operation *def = value ? value.getDefiningOp() : nullptr;
  if (!def || def->isBeforeInBlock(op))
    return true;
  for (Value input : def->getOperands())
    if (Operation *source = input.getDefiningOp(); source && !source->isBeforeInBlock(op))
      return false;
  def->moveBefore(op);
  return true;
}

// With unordered sums the per-expert rows are never stored, so diversity cannot be computed.
void dropDiversity(func::FuncOp layer) {
  Operation *end = layer.getBody().front().getTerminator();
  for (unsigned i = 0; i < layer.getNumResults(); ++i) {
    auto role = layer.getResultAttrOfType<StringAttr>(i, "moe.role");
    if (!role || role.getValue() != "diversity")
      continue;
    end->eraseOperand(i);
    (void)layer.eraseResult(i);
    return;
  }
}

void markUnordered(func::FuncOp layer, std::vector<FusionNote> &notes) {
  layer.walk([&](CombineOp combine) {
    auto matmul = combine.getRows().getDefiningOp<GroupedMatmulOp>();
    if (!matmul || !matmul.getResult().hasOneUse() || matmul.getRoute() != combine.getRoute() ||
        !combine.getRoute().getDefiningOp<DispatchOp>() || !isReadyBefore(combine.getWeights(), matmul))
      return;
    matmul->setAttr(unorderedAttr, UnitAttr::get(combine.getContext()));
    combine->setAttr(unorderedAttr, UnitAttr::get(combine.getContext()));
    notes.push_back({"det", describeOp(matmul) + ": rows are added to their tokens in any order, without a combine"});
  });
}

} // namespace moec
