// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/Normalizer.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value Normalizer::overChoices(Value weights, Value ids) {
  if (normalize.kind == NormalizeKind::None)
    return weights;
  if (normalize.kind == NormalizeKind::Softmax) {
    if (ids)
      weights = maskedBy(weights, ids, negInf);
    weights = softmax(weights);
  } else {
    Value sum = sumRows(summands(weights));
    weights = map({{weights, OperandKind::elem}, {sum, OperandKind::row}}, typeOf(weights),
                  [&](ValueRange v) { return divided(v[0], v[1]); });
  }
  return ids ? maskedBy(weights, ids, 0) : weights;
}

// v, |v|, v² or |v|^p
Value Normalizer::summands(Value weights) {
  if (normalize.kind == NormalizeKind::Sum)
    return weights;
  return map({{weights, OperandKind::elem}}, typeOf(weights), [&](ValueRange v) -> Value {
    if (normalize.p == 2)
      return multiply(v[0], v[0]);
    Value size = math::AbsFOp::create(builder, loc, v[0]);
    return normalize.p == 1 ? size : power(size, normalize.p);
  });
}

Value Normalizer::divided(Value weight, Value sum) { return divide(weight, divisor(norm(sum))); }

Value Normalizer::norm(Value sum) {
  if (normalize.kind == NormalizeKind::Sum || normalize.p == 1)
    return sum;
  return normalize.p == 2 ? squareRoot(sum) : power(sum, 1 / normalize.p);
}

// norm + eps or max(norm, eps)
Value Normalizer::divisor(Value norm) {
  if (normalize.eps == 0)
    return norm;
  return normalize.epsMode == EpsMode::Floor ? atLeast(norm, normalize.eps) : add(norm, number(normalize.eps));
}

// v^p = exp(p · log v) for v >= 0
Value Normalizer::power(Value v, double p) {
  Value result = math::ExpOp::create(builder, loc, scaled(math::LogOp::create(builder, loc, v), p));
  return select(isZero(v), number(0), result);
}

} // namespace moec
