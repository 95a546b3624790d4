// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pairs are found from the last routed matmul back to the first, so that what a shared expert's second matmul reads can
// follow its first.

#include "codegen/fuse/JoinStages.h"

#include "codegen/fuse/NumericModes.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/OperationSupport.h"

using namespace mlir;

namespace moec {

using namespace moe;

static Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

static bool sameTypes(OperandRange one, OperandRange two) {
  return one.size() == two.size() && llvm::all_of(llvm::zip(one, two), [](auto pair) {
           return elementOf(std::get<0>(pair)) == elementOf(std::get<1>(pair));
         });
}

// Kernels of both differ only in where rows come from.
static bool sameKernel(GroupedMatmulOp dense, GroupedMatmulOp routed) {
  bool empty = dense.getPrologue().empty() && routed.getPrologue().empty();
  return empty && dense.getTransposed() == routed.getTransposed() && dense.depth() == routed.depth() &&
         dense.columns() == routed.columns() && elementOf(dense.getA()) == elementOf(routed.getA()) &&
         elementOf(dense.getResult()) == elementOf(routed.getResult()) && sameTypes(dense.getB(), routed.getB()) &&
         sameTypes(dense.getEpilogueOperands(), routed.getEpilogueOperands()) &&
         dense.getEpilogueKinds() == routed.getEpilogueKinds() &&
         dense->hasAttr(tf32Attr) == routed->hasAttr(tf32Attr) &&
         OperationEquivalence::isRegionEquivalentTo(&dense.getEpilogue(), &routed.getEpilogue(),
                                                    OperationEquivalence::IgnoreLocations);
}

// Whether `op` may stand right before `place`: its inputs are there, its users come later.
static bool canMove(Operation *op, Operation *place) {
  for (Value input : op->getOperands())
    if (Operation *def = input.getDefiningOp(); def && !def->isBeforeInBlock(place))
      return false;
  return llvm::all_of(op->getUsers(), [&](Operation *user) { return place->isBeforeInBlock(user); });
}

static bool returned(GroupedMatmulOp op) {
  return llvm::any_of(op->getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); });
}

void joinStages(func::FuncOp layer, std::vector<FusionNote> &notes) {
  SmallVector<GroupedMatmulOp> dense, routed;
  layer.walk([&](GroupedMatmulOp op) { (op.getRoute() ? routed : dense).push_back(op); });
  llvm::DenseSet<Operation *> deciding = decidingStages(layer);
  llvm::erase_if(dense, [&](GroupedMatmulOp op) { return deciding.contains(op); });
  if (routed.empty())
    return;
  for (GroupedMatmulOp partner : llvm::reverse(routed)) {
    if (partner->hasAttr(unorderedAttr) || returned(partner))
      continue;
    auto found = llvm::find_if(
        dense, [&](GroupedMatmulOp op) { return sameKernel(op, partner) && canMove(op, partner) && !returned(op); });
    if (found == dense.end())
      continue;
    (*found)->moveBefore(partner);
    (*found)->setAttr(joinedAttr, UnitAttr::get(layer.getContext()));
    notes.push_back({"join", describeOp(*found) + " in the launch of " + describeOp(partner) + " up to " +
                                 std::to_string(joinedTokens) + " tokens on CUDA"});
    dense.erase(found);
  }
  for (GroupedMatmulOp op : dense)
    notes.push_back({"join", describeOp(op) +
                                 " in launches of its own: no routed matmul that is free to run beside it has its "
                                 "depth, columns, types and epilogue"});
}

} // namespace moec
