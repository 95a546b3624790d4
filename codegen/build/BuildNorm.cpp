// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildNorm.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value NormBuilder::factor(Value weight, const NormSpec &norm) {
  return norm.unitOffset ? add(weight, number(1)) : weight;
}

//   rms        u / sqrt(Σ u² / N + eps) · f      u = v, or v · f and no factor behind
//   layernorm  u / sqrt(Σ u² / N + eps) · f + b  u = v - Σ v / N
Value NormBuilder::normalized(Value values, const NormSpec &norm, Type element, const RoleOperand &role) {
  double width = double(columnsOf(values));
  bool centred = norm.kind == NormKind::LayerNorm, first = norm.weight && norm.before;
  RankedTensorType wide = rows(f32(), columnsOf(values));
  if (centred && typeOf(values) != wide)
    values = map({{values, OperandKind::elem}}, wide, [&](ValueRange v) { return toF32(v[0]); });
  if (centred)
    values = map({{values, OperandKind::elem}, {sumRows(values), OperandKind::row}}, wide,
                 [&](ValueRange v) { return subtract(v[0], divide(v[1], number(width))); });
  else if (first)
    values = map({{values, OperandKind::elem}, role("_weight")}, wide,
                 [&](ValueRange v) { return multiply(toF32(v[0]), factor(v[1], norm)); });
  SmallVector<Bound> operands = {{values, OperandKind::elem}, {squareSums(values), OperandKind::row}};
  if (norm.weight && !first)
    operands.push_back(role("_weight"));
  if (norm.weight && centred)
    operands.push_back(role("_bias"));
  return map(operands, rows(element, columnsOf(values)), [&](ValueRange v) {
    Value mean = add(divide(v[1], number(width)), number(norm.eps));
    Value unit = divide(toF32(v[0]), squareRoot(mean));
    if (v.size() > 2)
      unit = multiply(unit, factor(v[2], norm));
    return fromF32(v.size() > 3 ? add(unit, v[3]) : unit, element);
  });
}

Value NormBuilder::normalized(Value values, const NormSpec &norm, Type element, const LayerValues &layer,
                              const std::string &name) {
  return normalized(values, norm, element,
                    [&](const char *suffix) { return Bound{layer.parameter(name + suffix), OperandKind::col}; });
}

} // namespace moec
