// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/RowOps.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// ---- types ------------------------------------------------------------------------------------------------------

Type RowOps::elementOf(DataType type) {
  switch (type) {
  case DataType::BF16:
    return builder.getBF16Type();
  case DataType::F16:
    return builder.getF16Type();
  default:
    return builder.getF32Type(); // refusalsOf() refuses the others
  }
}

RankedTensorType RowOps::rows(Type element, int64_t columns) {
  return RankedTensorType::get({ShapedType::kDynamic, columns}, element);
}

RankedTensorType RowOps::rowVector(Type element) { return RankedTensorType::get({ShapedType::kDynamic}, element); }

// ---- elements ---------------------------------------------------------------------------------------------------

Value RowOps::map(ArrayRef<Bound> operands, RankedTensorType type, ScalarFn body) {
  SmallVector<Value> values;
  SmallVector<OperandKind> kinds;
  for (const Bound &operand : operands) {
    values.push_back(operand.value);
    kinds.push_back(operand.kind);
  }
  auto op = moe::MapOp::create(builder, loc, type, values, moe::kindArray(builder.getContext(), kinds));
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody());
  for (Value value : values)
    block->addArgument(typeOf(value).getElementType(), loc);
  moe::YieldOp::create(builder, loc, body(block->getArguments()));
  return op;
}

Value RowOps::maskedBy(Value values, Value ids, double other) {
  return map({{values, OperandKind::elem}, {ids, OperandKind::elem}}, typeOf(values),
             [&](ValueRange v) { return select(isChosen(v[1]), v[0], number(other)); });
}

Value RowOps::scaledRows(Value values, double factor) {
  if (factor == 1)
    return values;
  return map({{values, OperandKind::elem}}, typeOf(values), [&](ValueRange v) { return scaled(v[0], factor); });
}

Value RowOps::rounded(Value values, Type element) {
  if (typeOf(values).getElementType() == element)
    return values;
  return map({{values, OperandKind::elem}}, rows(element, columnsOf(values)),
             [&](ValueRange v) { return fromF32(v[0], element); });
}

Value RowOps::asColumn(Value row) {
  return map({{row, OperandKind::row}}, rows(f32(), 1), [&](ValueRange v) { return v[0]; });
}

Value RowOps::ones(int64_t columns) {
  return map({}, rows(f32(), columns), [&](ValueRange) { return number(1); });
}

Value RowOps::columns(int64_t count) {
  return moe::ColumnsOp::create(builder, loc, rows(i32(), count), DenseI32ArrayAttr());
}

Value RowOps::numbers(ArrayRef<int32_t> numbers) {
  return moe::ColumnsOp::create(builder, loc, rows(i32(), int64_t(numbers.size())),
                                builder.getDenseI32ArrayAttr(numbers));
}

// ---- rows -------------------------------------------------------------------------------------------------------

Value RowOps::reduced(Value values, moe::ReduceKind kind) {
  return moe::ReduceOp::create(builder, loc, rowVector(f32()), values, kind, IntegerAttr());
}

Value RowOps::reducedRuns(Value values, moe::ReduceKind kind, int64_t runs) {
  return moe::ReduceOp::create(builder, loc, rows(f32(), runs), values, kind, builder.getI64IntegerAttr(runs));
}

Value RowOps::sumRows(Value values) { return reduced(values, moe::ReduceKind::sum); }

Value RowOps::squareSums(Value values) {
  return sumRows(map({{values, OperandKind::elem}}, rows(f32(), columnsOf(values)), [&](ValueRange v) {
    Value value = toF32(v[0]);
    return multiply(value, value);
  }));
}

Value RowOps::columnOf(Value values, int64_t column) {
  return sumRows(map({{values, OperandKind::elem}, {columns(columnsOf(values)), OperandKind::elem}}, typeOf(values),
                     [&](ValueRange v) { return select(equal(v[1], int32_t(column)), v[0], number(0)); }));
}

Value RowOps::countChosen(Value ids) {
  return sumRows(map({{ids, OperandKind::elem}}, rows(f32(), columnsOf(ids)),
                     [&](ValueRange v) { return select(isChosen(v[0]), number(1), number(0)); }));
}

Value RowOps::softmax(Value values, int64_t runs) {
  return moe::SoftmaxOp::create(builder, loc, typeOf(values), values,
                                runs > 1 ? builder.getI64IntegerAttr(runs) : IntegerAttr());
}

Value RowOps::take(Value values, Value ids) {
  return moe::TakeOp::create(builder, loc, rows(typeOf(values).getElementType(), columnsOf(ids)), values, ids);
}

Value RowOps::put(Value values, Value ids, int64_t count) {
  return moe::PutOp::create(builder, loc, rows(f32(), count), values, ids);
}

Value RowOps::topK(Value values, int64_t k, int64_t runs) {
  return moe::TopKOp::create(builder, loc, rows(i32(), runs * k), values, builder.getI64IntegerAttr(k),
                             runs > 1 ? builder.getI64IntegerAttr(runs) : IntegerAttr());
}

Value RowOps::part(Value values, int64_t first, int64_t count) {
  SmallVector<int32_t> numbers;
  for (int64_t n = first; n < first + count; ++n)
    numbers.push_back(int32_t(n));
  return take(values, this->numbers(numbers));
}

// Part after part, so that few rows are alive at a time: columns from a part's first on take its values.
Value RowOps::joined(ArrayRef<Value> parts) {
  int64_t total = 0;
  for (Value one : parts)
    total += columnsOf(one);
  Value all = columns(total);
  Value out = take(parts[0], all);
  int32_t first = int32_t(columnsOf(parts[0]));
  for (Value one : parts.drop_front()) {
    Value place = map({{all, OperandKind::elem}}, typeOf(all), [&](ValueRange v) { return plus(v[0], -first); });
    out = map({{out, OperandKind::elem}, {take(one, place), OperandKind::elem}, {all, OperandKind::elem}}, typeOf(out),
              [&](ValueRange v) { return select(isLess(v[2], integer(first)), v[0], v[1]); });
    first += int32_t(columnsOf(one));
  }
  return out;
}

Value RowOps::matmul(Value a, Value b, Value route) {
  ArrayAttr none = builder.getArrayAttr({});
  int64_t columns = typeOf(b).getShape().drop_back().back();
  return moe::GroupedMatmulOp::create(builder, loc, rows(f32(), columns), a, b, route, ValueRange(), ValueRange(), none,
                                      none, UnitAttr());
}

// ---- several rows -----------------------------------------------------------------------------------------------

Value RowOps::tokenReduce(Value values, moe::ReduceKind kind, moe::Scope scope) {
  return moe::TokenReduceOp::create(builder, loc, values.getType(), values, kind, scope);
}

Value RowOps::topTokens(Value values, Value present, const Places &places) {
  return moe::TopTokensOp::create(builder, loc, rows(i32(), columnsOf(values)), values, present, places.mode,
                                  APFloat(places.value), uint64_t(places.times), uint64_t(places.over), places.round,
                                  uint64_t(places.least), uint64_t(places.most), places.scope,
                                  uint64_t(places.groupTokens));
}

Value RowOps::gather(Value tokens, Value route) {
  return moe::GatherOp::create(builder, loc, tokens.getType(), tokens, route);
}

Value RowOps::gatherChoices(Value values, Value route) {
  return moe::GatherOp::create(builder, loc, rowVector(typeOf(values).getElementType()), values, route);
}

Value RowOps::gatherColumns(Value values, Value route, int64_t columns) {
  return moe::GatherOp::create(builder, loc, rows(typeOf(values).getElementType(), columns), values, route);
}

Value RowOps::combine(Value values, Value route, Value weights) {
  return moe::CombineOp::create(builder, loc, rows(f32(), columnsOf(values)), values, route, weights, ValueRange(),
                                builder.getArrayAttr({}));
}

} // namespace moec
