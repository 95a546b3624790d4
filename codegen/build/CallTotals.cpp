// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/CallTotals.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value CallTotals::ifPresent(Value values) {
  if (!present)
    return values;
  return map({{values, OperandKind::elem}, {present, OperandKind::segment}}, typeOf(values),
             [&](ValueRange v) { return select(equal(v[1], 0), number(0), v[0]); });
}

Value CallTotals::sumOver(Value values, moe::Scope scope) {
  return tokenReduce(ifPresent(values), moe::ReduceKind::sum, scope);
}

Value CallTotals::presentTokens(moe::Scope scope) {
  Value count = sumOver(ones(1), scope);
  return map({{count, OperandKind::elem}}, typeOf(count), [&](ValueRange v) { return atLeast(v[0], 1); });
}

Value CallTotals::meanOver(Value values) {
  Value sum = sumOver(values);
  return map({{sum, OperandKind::elem}, {presentTokens(moe::Scope::batch), OperandKind::segment}}, typeOf(sum),
             [&](ValueRange v) { return divide(v[0], v[1]); });
}

Value CallTotals::meanOfTokens(Value row) { return present ? sumRows(meanOver(asColumn(row))) : row; }

Value CallTotals::total(Value values, moe::TotalKind kind) {
  auto type = RankedTensorType::get({columnsOf(values)}, typeOf(values).getElementType());
  return moe::TokenTotalOp::create(builder, loc, type, values, kind);
}

} // namespace moec
