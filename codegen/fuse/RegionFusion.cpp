// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Splicing of scalar regions. New ops stand where the map stood, so that all operands dominate them.

#include "codegen/fuse/RegionFusion.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

using namespace moe;

void RegionOperands::add(OperandRange range, ArrayAttr rangeKinds) {
  for (auto [i, value] : llvm::enumerate(range)) {
    values.push_back(value);
    kinds.push_back(kindAt(rangeKinds, i));
  }
}

MatmulPieces::MatmulPieces(GroupedMatmulOp op)
    : a(op.getA()), route(op.getRoute()), parts(op.getB().begin(), op.getB().end()), gathered(op.getGathered()),
      transposed(op.getTransposed()) {
  prologue.add(op.getPrologueOperands(), op.getPrologueKinds());
  epilogue.add(op.getEpilogueOperands(), op.getEpilogueKinds());
}

GroupedMatmulOp createMatmul(OpBuilder &builder, Location loc, Type type, const MatmulPieces &pieces) {
  MLIRContext *context = builder.getContext();
  return GroupedMatmulOp::create(
      builder, loc, type, pieces.a, pieces.parts, pieces.route, pieces.prologue.values, pieces.epilogue.values,
      pieces.prologue.kindsAttr(context), pieces.epilogue.kindsAttr(context),
      pieces.gathered ? UnitAttr::get(context) : UnitAttr(), pieces.transposed ? UnitAttr::get(context) : UnitAttr());
}

Block *startRegion(Region &region, ArrayRef<Type> leading, const RegionOperands &operands, Location loc) {
  Block *block = new Block;
  region.push_back(block);
  for (Type type : leading)
    block->addArgument(type, loc);
  for (Value value : operands.values)
    block->addArgument(cast<RankedTensorType>(value.getType()).getElementType(), loc);
  return block;
}

Value inlineRegion(Region &from, ValueRange arguments, Block *block) {
  IRMapping mapping;
  Block &source = from.front();
  mapping.map(source.getArguments(), arguments);
  OpBuilder builder = OpBuilder::atBlockEnd(block);
  for (Operation &op : source.without_terminator())
    builder.clone(op, mapping);
  return mapping.lookup(source.getTerminator()->getOperand(0));
}

void yieldValue(Block *block, Value value) {
  OpBuilder builder = OpBuilder::atBlockEnd(block);
  YieldOp::create(builder, value.getLoc(), value);
}

namespace {

// The old epilogue (or the accumulator itself), then the map with operand `index` replaced by its value.
void spliceEpilogues(Region &into, Region &old, unsigned numLeading, unsigned numOld, MapOp map, unsigned index,
                     const RegionOperands &operands) {
  Location loc = map.getLoc();
  SmallVector<Type> leading(numLeading, Float32Type::get(map.getContext()));
  Block *block = startRegion(into, leading, operands, loc);
  ValueRange all = block->getArguments();
  Value value = old.empty() ? all[0] : inlineRegion(old, all.take_front(numLeading + numOld), block);
  SmallVector<Value> arguments(all.drop_front(numLeading + numOld));
  arguments.insert(arguments.begin() + index, value);
  yieldValue(block, inlineRegion(map.getBody(), arguments, block));
}

RegionOperands withMapOperands(OperandRange old, ArrayAttr oldKinds, MapOp map, unsigned index) {
  RegionOperands operands;
  operands.add(old, oldKinds);
  for (auto [i, value] : llvm::enumerate(map.getInputs()))
    if (i != index) {
      operands.values.push_back(value);
      operands.kinds.push_back(kindAt(map.getKinds(), i));
    }
  return operands;
}

} // namespace

Operation *appendEpilogue(Operation *op, MapOp map, unsigned index) {
  OpBuilder builder(map);
  Operation *fused;
  if (auto matmul = dyn_cast<GroupedMatmulOp>(op)) {
    MatmulPieces pieces(matmul);
    unsigned numOld = pieces.epilogue.values.size();
    pieces.epilogue = withMapOperands(matmul.getEpilogueOperands(), matmul.getEpilogueKinds(), map, index);
    GroupedMatmulOp result = createMatmul(builder, matmul.getLoc(), map.getType(), pieces);
    result.getPrologue().takeBody(matmul.getPrologue());
    spliceEpilogues(result.getEpilogue(), matmul.getEpilogue(), matmul.parts(), numOld, map, index, pieces.epilogue);
    fused = result;
  } else {
    auto combine = cast<CombineOp>(op);
    RegionOperands operands = withMapOperands(combine.getEpilogueOperands(), combine.getEpilogueKinds(), map, index);
    auto result = CombineOp::create(builder, combine.getLoc(), map.getType(), combine.getRows(), combine.getRoute(),
                                    combine.getWeights(), operands.values, operands.kindsAttr(op->getContext()));
    spliceEpilogues(result.getEpilogue(), combine.getEpilogue(), 1, combine.getEpilogueOperands().size(), map, index,
                    operands);
    fused = result;
  }
  map->replaceAllUsesWith(fused);
  map->erase();
  op->erase();
  return fused;
}

bool hasOneUse(Value value) { return value.hasOneUse() && !isa<func::ReturnOp>(*value.user_begin()); }

} // namespace moec
