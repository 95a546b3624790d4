// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// router block of a spec -> row ops: logits, scores, choice value, group limit, selection, weights.

#include "codegen/moe/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

// x, or x / sqrt(mean(x²) + eps) · scale ∘ weight in f32
Value LayerBuilder::routerInput() {
  const std::optional<RouterNorm> &norm = spec.router.input.norm;
  if (!norm)
    return x;
  Type f32 = builder.getF32Type();
  Value squares = map({{x, OperandKind::elem}}, rows(f32, spec.hidden), [&](ValueRange v) {
    Value value = toF32(v[0]);
    return multiply(value, value);
  });
  SmallVector<Bound> operands = {{x, OperandKind::elem}, {sumRows(squares), OperandKind::row}};
  if (norm->weight)
    operands.push_back({parameter("router.input_scale"), OperandKind::col});
  return map(operands, rows(f32, spec.hidden), [&](ValueRange v) {
    Value mean = divide(v[1], number(double(spec.hidden)));
    Value root = math::SqrtOp::create(builder, loc, add(mean, number(norm->eps)));
    Value value = scaled(divide(toF32(v[0]), root), norm->scale);
    return norm->weight ? multiply(value, v[2]) : value;
  });
}

// z = x·Wᵀ + b, then the transforms. Always f32: a sum in f32 is never rounded to the activation type.
Value LayerBuilder::logits() {
  Value z = matmul(routerInput(), parameter("router.weight"), Value());
  if (spec.router.bias)
    z = map({{z, OperandKind::elem}, {parameter("router.bias"), OperandKind::col}}, cast<RankedTensorType>(z.getType()),
            [&](ValueRange v) { return add(v[0], v[1]); });
  for (const LogitTransform &transform : spec.router.transform)
    z = transformed(z, transform);
  return z;
}

Value LayerBuilder::transformed(Value z, const LogitTransform &transform) {
  auto type = cast<RankedTensorType>(z.getType());
  SmallVector<Bound> operands = {{z, OperandKind::elem}};
  bool learned = transform.op == TransformOp::Temperature && transform.learned;
  if (learned)
    operands.push_back({parameter("router.temperature"), OperandKind::scalar});
  return map(operands, type, [&](ValueRange v) -> Value {
    switch (transform.op) {
    case TransformOp::Clamp:
      return atMost(atLeast(v[0], transform.min), transform.max);
    case TransformOp::SoftCap:
      return scaled(math::TanhOp::create(builder, loc, divide(v[0], number(transform.value))), transform.value);
    case TransformOp::Temperature:
      return divide(v[0], learned ? v[1] : number(transform.value));
    case TransformOp::Cosine:
      break; // refused
    }
    return v[0];
  });
}

Value LayerBuilder::scored(Value z) {
  static const char *const names[] = {"", "sigmoid", "sqrtsoftplus", "softplus", "relu", ""};
  auto type = cast<RankedTensorType>(z.getType());
  if (spec.router.score == Score::Softmax)
    return moe::SoftmaxOp::create(builder, loc, type, z);
  if (spec.router.score == Score::Identity)
    return z;
  return map({{z, OperandKind::elem}}, type,
             [&](ValueRange v) { return functions.apply(builder, loc, names[int(spec.router.score)], v[0]); });
}

// The columns of all but the best `keep` groups become 0 or -inf.
Value LayerBuilder::maskedByGroups(Value choice) {
  const RouterGroups &groups = *spec.router.groups;
  Type f32 = builder.getF32Type(), i32 = builder.getI32Type();
  auto reduced = [&](Value from, moe::ReduceKind kind) -> Value {
    return moe::ReduceOp::create(builder, loc, rows(f32, groups.count), from, kind,
                                 builder.getI64IntegerAttr(groups.count));
  };
  Value score;
  if (groups.score == GroupScore::Top2Sum) {
    Value best = moe::TopKOp::create(builder, loc, rows(i32, 2 * groups.count), choice, builder.getI64IntegerAttr(2),
                                     builder.getI64IntegerAttr(groups.count));
    Value values = moe::TakeOp::create(builder, loc, rows(f32, 2 * groups.count), choice, best);
    score = reduced(values, moe::ReduceKind::sum);
  } else {
    score = reduced(choice, groups.score == GroupScore::Max ? moe::ReduceKind::max : moe::ReduceKind::sum);
  }
  Value kept = moe::TopKOp::create(builder, loc, rows(i32, groups.keep), score, builder.getI64IntegerAttr(groups.keep),
                                   IntegerAttr());
  Value mask = moe::MemberOp::create(builder, loc, rows(builder.getI1Type(), groups.count), kept);
  double masked = groups.masked == GroupMasked::Zero ? 0.0 : -std::numeric_limits<double>::infinity();
  return map({{choice, OperandKind::elem}, {mask, OperandKind::segment}}, cast<RankedTensorType>(choice.getType()),
             [&](ValueRange v) -> Value { return arith::SelectOp::create(builder, loc, v[1], v[0], number(masked)); });
}

// [T] the divisor of the weights before eps: Σ v, Σ |v| or sqrt(Σ v²)
Value LayerBuilder::norm(Value values) {
  auto type = cast<RankedTensorType>(values.getType());
  const RouterNormalize &normalize = spec.router.normalize;
  if (normalize.kind == NormalizeKind::Sum)
    return sumRows(values);
  bool square = normalize.p == 2;
  Value sum = sumRows(map({{values, OperandKind::elem}}, type, [&](ValueRange v) -> Value {
    return square ? multiply(v[0], v[0]) : Value(math::AbsFOp::create(builder, loc, v[0]));
  }));
  if (!square)
    return sum;
  return map({{sum, OperandKind::elem}}, rowVector(builder.getF32Type()),
             [&](ValueRange v) -> Value { return math::SqrtOp::create(builder, loc, v[0]); });
}

// normalise -> scale -> per-expert scale -> rounding
Value LayerBuilder::finalWeights(Value values, Value ids) {
  const RouterSpec &router = spec.router;
  const RouterNormalize &normalize = router.normalize;
  auto type = cast<RankedTensorType>(values.getType());
  if (normalize.kind == NormalizeKind::Softmax)
    values = moe::SoftmaxOp::create(builder, loc, type, values);
  bool divides = normalize.kind == NormalizeKind::Sum || normalize.kind == NormalizeKind::Lp;
  bool rounds = router.weightDType == WeightDType::Activation && spec.dtype.activation != DataType::F32;
  SmallVector<Bound> operands = {{values, OperandKind::elem}};
  if (divides)
    operands.push_back({norm(values), OperandKind::row});
  if (router.expertScale)
    operands.push_back(
        {moe::TakeOp::create(builder, loc, type, parameter("router.expert_scale"), ids), OperandKind::elem});
  if (operands.size() == 1 && router.scale == 1 && !rounds)
    return values;
  return map(operands, type, [&](ValueRange v) {
    Value weight = v[0];
    if (divides) {
      bool floor = normalize.epsMode == EpsMode::Floor;
      Value divisor = normalize.eps == 0 ? v[1]
                      : floor            ? atLeast(v[1], normalize.eps)
                                         : add(v[1], number(normalize.eps));
      weight = divide(weight, divisor);
    }
    weight = scaled(weight, router.scale);
    if (router.expertScale)
      weight = multiply(weight, v.back());
    return rounds ? toF32(fromF32(weight, typeOf(spec.dtype.activation))) : weight;
  });
}

Value LayerBuilder::constantWeights(double value) {
  return map({}, rows(builder.getF32Type(), spec.choices()), [&](ValueRange) { return number(value); });
}

RouterValues LayerBuilder::buildRouter() {
  const RouterSpec &router = spec.router;
  RouterValues out;
  out.logits = logits();
  bool all = router.scoreOver == ScoreOver::All;
  Value scores = all ? scored(out.logits) : out.logits;
  Value choice = scores;
  if (router.choiceBias)
    choice = map({{scores, OperandKind::elem}, {parameter("router.choice_bias"), OperandKind::col}},
                 cast<RankedTensorType>(scores.getType()), [&](ValueRange v) { return add(v[0], v[1]); });
  if (router.groups)
    choice = maskedByGroups(choice);
  int64_t k = spec.choices();
  out.ids = moe::TopKOp::create(builder, loc, rows(builder.getI32Type(), k), choice, builder.getI64IntegerAttr(k),
                                IntegerAttr());
  if (router.weightMode != WeightMode::Gathered) {
    out.weights = constantWeights(router.weightMode == WeightMode::One ? 1.0 : 1.0 / double(k));
    out.weights = router.scale == 1 && !router.expertScale ? out.weights : finalWeights(out.weights, out.ids);
    return out;
  }
  Value values = moe::TakeOp::create(builder, loc, rows(builder.getF32Type(), k), scores, out.ids);
  out.weights = finalWeights(all ? values : scored(values), out.ids);
  return out;
}

} // namespace moec
