// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cuda/CudaMatmulTiles.h"

#include "runtime/moec_cuda_abi.h"

using namespace mlir;

namespace moec {

void CudaMatmulTiles::bind(const CudaMatmulArgs<Value> &arguments) {
  args = arguments;
  chooseStage();
}

// Of the first stage outside of tiles and where there is no other. A descriptor is chosen where it is used.
void CudaMatmulTiles::chooseStage() {
  stage = args.stage;
  if (tile.isSecond) {
    auto choose = [&](Value &one, Value two) { one = e.select(tile.isSecond, two, one); };
    choose(stage.a, args.joined->a);
    if (!shape.hasRoles())
      choose(stage.b, args.joined->b);
    choose(stage.out, args.joined->out);
    for (auto [i, operand] : llvm::enumerate(stage.prologue))
      choose(operand, args.joined->prologue[i]);
    for (auto [i, operand] : llvm::enumerate(stage.epilogue))
      choose(operand, args.joined->epilogue[i]);
  }
  zipArgs(kernel.args(), stage, [&](Value argument, Value pointer) {
    if (argument)
      pointers[argument] = pointer;
  });
}

Value CudaMatmulTiles::loadOfList(Type type, Value address, ListRead how) const {
  return how == ListRead::Fresh ? e.loadFresh(type, address, 16) : e.load(type, address, 16);
}

Value CudaMatmulTiles::count(ListRead how) {
  Value items =
      shape.mode.routed ? e.toI64(loadOfList(e.i32(), *args.list, how)) : e.ceilDiv(block.numTokens, shape.a.rows);
  if (shape.mode.joined) {
    firstItems = items;
    items = e.add(items, e.ceilDiv(block.numTokens, shape.a.rows));
  }
  return e.mul(items, shape.tileColumns() * shape.splits);
}

void CudaMatmulTiles::enter(Value index, ListRead how) {
  if (shape.splits > 1) {
    tile.share = e.remU(index, shape.splits);
    tile.firstStep = e.mul(tile.share, shape.kSteps);
    index = e.divU(index, shape.splits);
  }
  tile.column0 = e.mul(e.remU(index, shape.tileColumns()), shape.columns());
  loadTile(e.divU(index, shape.tileColumns()), how);
  if (shape.mode.joined)
    chooseStage();
}

void CudaMatmulTiles::loadTile(Value index, ListRead how) {
  if (shape.mode.joined) { // an item of the list, which may be empty, or rows of all tokens
    tile.isSecond = e.compare(arith::CmpIPredicate::uge, index, firstItems);
    Value own = e.sub(index, firstItems);
    index = e.select(tile.isSecond, e.c(0), index);
    loadItem(index, how);
    Value row0 = e.mul(own, shape.a.rows);
    tile.group = e.select(tile.isSecond, e.c(0), tile.group);
    tile.row0 = e.select(tile.isSecond, row0, tile.row0);
    tile.rows = e.select(tile.isSecond, e.minS(e.c(shape.a.rows), e.sub(block.numTokens, row0)), tile.rows);
    return;
  }
  if (!shape.mode.routed) {
    tile.group = e.c(0);
    tile.row0 = e.mul(index, shape.a.rows);
    tile.rows = e.minS(e.c(shape.a.rows), e.sub(block.numTokens, tile.row0));
    return;
  }
  loadItem(index, how);
}

void CudaMatmulTiles::loadItem(Value index, ListRead how) {
  Value at = e.at(*args.list, e.add(e.mul(index, sizeof(moec_cuda_item)), e.c(16)));
  Value item = loadOfList(e.vec(e.i32(), 4), at, how);
  auto field = [&](int64_t i) {
    return e.toI64(vector::ExtractOp::create(e.b, e.loc, item, ArrayRef<int64_t>{i}).getResult());
  };
  tile.group = field(0), tile.row0 = field(1), tile.rows = field(2);
}

Value CudaMatmulTiles::depthStep(Value step) const { return shape.splits > 1 ? e.add(tile.firstStep, step) : step; }

// With roles steps are counted over all tiles of the block.
Value CudaMatmulTiles::wasAsked(Value step) const {
  Value asked = e.less(step, e.c(shape.earlySteps()));
  return shape.hasRoles() ? asked : e.both(tile.isFirst, asked);
}

Value CudaMatmulTiles::tokenOf(Value row) const {
  return e.toI64(e.load(e.i32(), e.at(*stage.rowToken, e.mul(row, 4)), 4));
}

CudaMatmulTiles::Values CudaMatmulTiles::rowOperands(ValueRange operands, Value row) const {
  Values out;
  for (Value operand : operands) {
    auto type = cast<tile::OperandType>(operand.getType());
    StringRef kind = type.getKind().getValue();
    int64_t size = type.getElement().getIntOrFloatBitWidth() / 8;
    Value base = pointerOf(operand);
    if (kind == "row" || kind == "scalar")
      out.push_back(e.load(type.getElement(), kind == "row" ? e.at(base, e.mul(row, size)) : base, unsigned(size)));
    else
      out.push_back(Value());
  }
  return out;
}

} // namespace moec
