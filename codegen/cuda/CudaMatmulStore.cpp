// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Accumulators -> epilogue -> output, in the thread that holds them.

#include "codegen/cuda/CudaMatmulStore.h"

using namespace mlir;

namespace moec {

void CudaMatmulResults::store(tile::StoreOp op, const Values &acc) {
  SumsLeave leave = shape.sumsLeave();
  if (leave == SumsLeave::Shares)
    return storePartials(acc);
  for (int64_t i = 0; i < shape.fragmentRows(); ++i)
    e.when(e.less(block.fragmentRow(i), tiles.tile.rows),
           [&] { leave == SumsLeave::Tokens ? addRow(op, acc, i) : storeRow(op, acc, i); });
}

void CudaMatmulResults::whenColumn(Value column, llvm::function_ref<void()> body) {
  if (shape.n % shape.columns() == 0)
    return body();
  e.when(e.less(column, e.c(shape.n)), body);
}

// out[row_token[row], column] += weights[row_slot[row]] * value: who is first is not said. One address serves the row,
// since an instruction of 64 columns each would keep as many addresses in registers.
void CudaMatmulResults::addRow(tile::StoreOp op, const Values &acc, int64_t i) {
  Value row = e.add(tiles.tile.row0, block.fragmentRow(i)), weight;
  Values rowValues = tiles.rowOperands(op.getExtra(), row);
  auto entry = [&](Value table) { return e.toI64(e.load(e.i32(), e.at(table, e.mul(row, 4)), 4)); };
  Value outRow = e.at(tiles.stage.out, e.mul(entry(tiles.args.sums->rowToken), shape.outStride));
  Value first = e.at(outRow, e.mul(e.add(tiles.tile.column0, block.fragmentColumn(0)), 4));
  if (shape.mode.weighted)
    weight = e.load(e.f32(), e.at(*tiles.args.sums->weights, e.mul(entry(tiles.args.sums->rowSlot), 4)), 4);
  for (int64_t j = 0; j < shape.fragmentColumns(); ++j) {
    Value column = e.add(tiles.tile.column0, block.fragmentColumn(j));
    whenColumn(column, [&] {
      Value x = e.widen(columnValue(op, partsOf(acc, i, j), rowValues, tiles.tile.group, row, column));
      e.reduceAdd(first, 4 * shape.columnDistance(j), shape.mode.weighted ? e.mulF(weight, x) : x);
    });
  }
}

CudaMatmulResults::Values CudaMatmulResults::partsOf(const Values &acc, int64_t i, int64_t j) {
  Values sums;
  for (int64_t part = 0; part < shape.parts; ++part)
    sums.push_back(acc[size_t(shape.accumulatorIndex(part, i, j))]);
  return sums;
}

Value CudaMatmulResults::columnValue(tile::StoreOp op, Values inputs, const Values &rowValues, Value group, Value row,
                                     Value column) {
  for (auto [operand, rowValue] : llvm::zip(op.getExtra(), rowValues)) {
    auto type = cast<tile::OperandType>(operand.getType());
    int64_t size = type.getElement().getIntOrFloatBitWidth() / 8, stride = type.getStride().getInt();
    if (rowValue) {
      inputs.push_back(rowValue);
      continue;
    }
    Value outer = type.getKind().getValue() == "col" ? group : row;
    Value at = e.add(e.mul(outer, stride), e.mul(column, size));
    inputs.push_back(e.load(type.getElement(), e.at(tiles.pointerOf(operand), at), unsigned(size)));
  }
  Value result = op.getBody().empty() ? inputs[0] : e.inlineScalar(op.getBody(), inputs)[0];
  Type element = cast<tile::RowsType>(op.getOut().getType()).getElement();
  return result.getType() == element ? result : e.narrow(result, element);
}

// Two neighbouring columns are stored at once where both or neither exist and their address is aligned.
void CudaMatmulResults::storeRow(tile::StoreOp op, const Values &acc, int64_t i) {
  Value row = e.add(tiles.tile.row0, block.fragmentRow(i));
  Values rowValues = tiles.rowOperands(op.getExtra(), row);
  Type element = cast<tile::RowsType>(op.getOut().getType()).getElement();
  int64_t size = element.getIntOrFloatBitWidth() / 8, n = shape.n, stride = shape.outStride;
  Value outRow = e.at(tiles.stage.out, e.mul(row, stride));
  bool pairs = shape.tensorCores() && !shape.columnsFirst && n % 2 == 0 && stride % (2 * size) == 0;
  for (int64_t j = 0; j < shape.fragmentColumns(); j += pairs ? 2 : 1) {
    Value column = e.add(tiles.tile.column0, block.fragmentColumn(j)), to = e.at(outRow, e.mul(column, size));
    auto store = [&] {
      Value result = columnValue(op, partsOf(acc, i, j), rowValues, tiles.tile.group, row, column);
      if (pairs) {
        Value next = e.add(tiles.tile.column0, block.fragmentColumn(j + 1));
        Value second = columnValue(op, partsOf(acc, i, j + 1), rowValues, tiles.tile.group, row, next);
        result = vector::FromElementsOp::create(e.b, e.loc, e.vec(element, 2), ValueRange{result, second});
      }
      e.store(result, to, unsigned(pairs ? 2 * size : size));
    };
    whenColumn(column, store);
  }
}

} // namespace moec
