// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Accumulators -> epilogue -> output, in the thread that holds them. Where its rows and columns are:
//
//     tensor cores   rows 16 i + lane/4 and + 8,     columns 8 j + 2 (lane%4) and + 1    (the D fragment of m16n8k16)
//     columns first  rows 8 i + 2 (lane%4) and + 1,  columns 16 j + lane/4 and + 8       (the same, transposed)
//     FMA            rows 4 i + lane/8,              columns 8 j + lane%8

#include "codegen/cuda/CudaMatmulLowering.h"

using namespace mlir;

namespace moec {

int64_t CudaMatmulLowering::fragmentRows() const { return rowsPerWarp() / (tensorCores() && !columnsFirst ? 8 : 4); }
int64_t CudaMatmulLowering::fragmentColumns() const {
  return columnsPerWarp() / (tensorCores() && !columnsFirst ? 4 : 8);
}

Value CudaMatmulLowering::fragmentRow(int64_t i) {
  Value inWarp = !tensorCores() ? add32(div32(lane, 8), 4 * i)
                 : columnsFirst ? add32(mul32(rem32(lane, 4), 2), 8 * (i / 2) + i % 2)
                                : add32(div32(lane, 4), 8 * i);
  return e.unsignedI64(e.add(mul32(warpM, rowsPerWarp()), inWarp));
}

int64_t CudaMatmulLowering::columnDistance(int64_t j) const {
  return tensorCores() && !columnsFirst ? 8 * (j / 2) + j % 2 : 8 * j;
}

Value CudaMatmulLowering::fragmentColumn(int64_t j) {
  Value first = !tensorCores() ? rem32(lane, 8) : columnsFirst ? div32(lane, 4) : mul32(rem32(lane, 4), 2);
  Value inWarp = add32(first, columnDistance(j));
  return e.unsignedI64(e.add(mul32(warpN, columnsPerWarp()), inWarp));
}

int64_t CudaMatmulLowering::accumulatorIndex(int64_t part, int64_t i, int64_t j) const {
  return (part * fragmentRows() + i) * fragmentColumns() + j;
}

void CudaMatmulLowering::lowerStore(tile::StoreOp op) {
  Values acc = values[op.getAcc()];
  if (splits > 1)
    return storePartials(acc);
  for (int64_t i = 0; i < fragmentRows(); ++i)
    e.when(e.less(fragmentRow(i), tile.rows), [&] { mode.unordered ? addRow(op, acc, i) : storeRow(op, acc, i); });
}

void CudaMatmulLowering::whenColumn(Value column, llvm::function_ref<void()> body) {
  if (shape("n") % columns() == 0)
    return body();
  e.when(e.less(column, e.c(shape("n"))), body);
}

// out[row_token[row], column] += weights[row_slot[row]] * value: who is first is not said. One address serves the row,
// since an instruction of 64 columns each would keep as many addresses in registers.
void CudaMatmulLowering::addRow(tile::StoreOp op, const Values &acc, int64_t i) {
  Value row = e.add(tile.row0, fragmentRow(i)), weight;
  Values rowValues = rowOperands(op.getExtra(), row);
  auto entry = [&](Value table) { return e.toI64(e.load(e.i32(), e.at(table, e.mul(row, 4)), 4)); };
  Value outRow = e.at(stage.out, e.mul(entry(args.sums->rowToken), shape("out_stride")));
  Value first = e.at(outRow, e.mul(e.add(tile.column0, fragmentColumn(0)), 4));
  if (mode.weighted)
    weight = e.load(e.f32(), e.at(*args.sums->weights, e.mul(entry(args.sums->rowSlot), 4)), 4);
  for (int64_t j = 0; j < fragmentColumns(); ++j) {
    Value column = e.add(tile.column0, fragmentColumn(j));
    whenColumn(column, [&] {
      Value x = e.widen(columnValue(op, partsOf(acc, i, j), rowValues, row, column));
      e.reduceAdd(first, 4 * columnDistance(j), mode.weighted ? e.mulF(weight, x) : x);
    });
  }
}

// Values of operands that do not depend on the column; null for the others.
CudaMatmulLowering::Values CudaMatmulLowering::rowOperands(ValueRange operands, Value row) {
  Values out;
  for (Value operand : operands) {
    auto type = cast<tile::OperandType>(operand.getType());
    StringRef kind = type.getKind().getValue();
    int64_t size = type.getElement().getIntOrFloatBitWidth() / 8;
    Value base = value(operand);
    if (kind == "row" || kind == "scalar")
      out.push_back(e.load(type.getElement(), kind == "row" ? e.at(base, e.mul(row, size)) : base, unsigned(size)));
    else
      out.push_back(Value());
  }
  return out;
}

CudaMatmulLowering::Values CudaMatmulLowering::partsOf(const Values &acc, int64_t i, int64_t j) {
  Values sums;
  for (int64_t part = 0; part < parts; ++part)
    sums.push_back(acc[size_t(accumulatorIndex(part, i, j))]);
  return sums;
}

// What the epilogue makes of the sums of all parts, in the output's type.
Value CudaMatmulLowering::columnValue(tile::StoreOp op, Values inputs, const Values &rowValues, Value row,
                                      Value column) {
  for (auto [operand, rowValue] : llvm::zip(op.getExtra(), rowValues)) {
    auto type = cast<tile::OperandType>(operand.getType());
    int64_t size = type.getElement().getIntOrFloatBitWidth() / 8, stride = type.getStride().getInt();
    if (rowValue) {
      inputs.push_back(rowValue);
      continue;
    }
    Value outer = type.getKind().getValue() == "col" ? tile.group : row;
    Value at = e.add(e.mul(outer, stride), e.mul(column, size));
    inputs.push_back(e.load(type.getElement(), e.at(value(operand), at), unsigned(size)));
  }
  Value result = op.getBody().empty() ? inputs[0] : e.inlineScalar(op.getBody(), inputs)[0];
  Type element = cast<tile::RowsType>(op.getOut().getType()).getElement();
  return result.getType() == element ? result : e.narrow(result, element);
}

// Two neighbouring columns are stored at once where both or neither exist and their address is aligned.
void CudaMatmulLowering::storeRow(tile::StoreOp op, const Values &acc, int64_t i) {
  Value row = e.add(tile.row0, fragmentRow(i));
  Values rowValues = rowOperands(op.getExtra(), row);
  Type element = cast<tile::RowsType>(op.getOut().getType()).getElement();
  int64_t size = element.getIntOrFloatBitWidth() / 8, n = shape("n"), stride = shape("out_stride");
  Value outRow = e.at(stage.out, e.mul(row, stride));
  bool pairs = tensorCores() && !columnsFirst && n % 2 == 0 && stride % (2 * size) == 0;
  for (int64_t j = 0; j < fragmentColumns(); j += pairs ? 2 : 1) {
    Value column = e.add(tile.column0, fragmentColumn(j)), to = e.at(outRow, e.mul(column, size));
    auto store = [&] {
      Value result = columnValue(op, partsOf(acc, i, j), rowValues, row, column);
      if (pairs) {
        Value next = e.add(tile.column0, fragmentColumn(j + 1));
        Value second = columnValue(op, partsOf(acc, i, j + 1), rowValues, row, next);
        result = vector::FromElementsOp::create(e.b, e.loc, e.vec(element, 2), ValueRange{result, second});
      }
      e.store(result, to, unsigned(pairs ? 2 * size : size));
    };
    whenColumn(column, store);
  }
}

} // namespace moec
