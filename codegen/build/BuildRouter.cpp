// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// router block of a spec -> row ops: input, logits, noise, scores, and the order of all stages.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// x or the residual, or x / sqrt(mean(x²) + eps) · scale ∘ weight in f32
Value LayerBuilder::routerInput() {
  Value from = spec.router.input.from == BranchInput::Residual ? input("residual") : x;
  const std::optional<RouterNorm> &norm = spec.router.input.norm;
  if (!norm)
    return from;
  Type f32 = builder.getF32Type();
  Value squares = map({{from, OperandKind::elem}}, rows(f32, spec.hidden), [&](ValueRange v) {
    Value value = toF32(v[0]);
    return multiply(value, value);
  });
  SmallVector<Bound> operands = {{from, OperandKind::elem}, {sumRows(squares), OperandKind::row}};
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
Value LayerBuilder::logits(const RouterSpec &router, const std::string &role) {
  Value from = routerInput(), weight = parameter(role), z = matmul(from, weight, Value());
  auto type = cast<RankedTensorType>(z.getType());
  if (!router.transform.empty() && router.transform[0].op == TransformOp::Cosine)
    z = cosine(z, from, weight, router.transform[0]);
  if (router.bias)
    z = map({{z, OperandKind::elem}, {parameter("router.bias"), OperandKind::col}}, type,
            [&](ValueRange v) { return add(v[0], v[1]); });
  for (const LogitTransform &transform : router.transform)
    if (transform.op != TransformOp::Cosine)
      z = transformed(z, transform);
  return z;
}

// scale · z / (sqrt(Σ x² + eps) · sqrt(Σ w² + eps))
Value LayerBuilder::cosine(Value z, Value from, Value weight, const LogitTransform &transform) {
  auto type = cast<RankedTensorType>(z.getType()), fromType = cast<RankedTensorType>(from.getType());
  Type f32 = builder.getF32Type();
  Value squares = sumRows(map({{from, OperandKind::elem}}, rows(f32, fromType.getDimSize(1)), [&](ValueRange v) {
    Value value = toF32(v[0]);
    return multiply(value, value);
  }));
  Value weights = moe::SquareSumsOp::create(builder, loc, RankedTensorType::get({type.getDimSize(1)}, f32), weight);
  SmallVector<Bound> operands = {{z, OperandKind::elem}, {squares, OperandKind::row}, {weights, OperandKind::col}};
  if (transform.learned)
    operands.push_back({parameter("router.scale"), OperandKind::scalar});
  return map(operands, type, [&](ValueRange v) {
    auto root = [&](Value sum) -> Value { return math::SqrtOp::create(builder, loc, add(sum, number(transform.eps))); };
    Value unit = divide(v[0], multiply(root(v[1]), root(v[2])));
    return transform.learned ? multiply(unit, v[3]) : scaled(unit, transform.value);
  });
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
      break; // part of the product
    }
    return v[0];
  });
}

// f(x·W_n)
Value LayerBuilder::noiseDeviation() {
  Value deviation = matmul(routerInput(), parameter("router.noise_weight"), Value());
  return scored(spec.router.noise.stdFn == NoiseStdFn::Softmax ? Score::Softmax : Score::Softplus, deviation);
}

// h = z + σ·n · learned: h = z + n·(f(x·W_n) + eps) · gumbel: for choosing only, so that weights stay those of z
NoisyLogits LayerBuilder::withNoise(Value z) {
  const RouterNoise &noise = spec.router.noise;
  if (!spec.takesNoise())
    return {z, z};
  auto type = cast<RankedTensorType>(z.getType());
  SmallVector<Bound> operands = {{z, OperandKind::elem}, {input("noise"), OperandKind::elem}};
  bool learned = noise.kind == NoiseKind::Learned;
  if (learned)
    operands.push_back({noiseDeviation(), OperandKind::elem});
  Value noisy = map(operands, type, [&](ValueRange v) {
    if (learned)
      return add(v[0], multiply(v[1], noise.eps == 0 ? v[2] : add(v[2], number(noise.eps))));
    return add(v[0], noise.kind == NoiseKind::Normal ? scaled(v[1], noise.std) : v[1]);
  });
  return {noisy, noise.kind == NoiseKind::Gumbel ? z : noisy};
}

// f(z), softmax over each of `segments` runs of a row
Value LayerBuilder::scored(Score score, Value z, int64_t segments) {
  static const char *const names[] = {"", "sigmoid", "sqrtsoftplus", "softplus", "relu", ""};
  auto type = cast<RankedTensorType>(z.getType());
  if (score == Score::Softmax)
    return moe::SoftmaxOp::create(builder, loc, type, z,
                                  segments > 1 ? builder.getI64IntegerAttr(segments) : IntegerAttr());
  if (score == Score::Identity)
    return z;
  return map({{z, OperandKind::elem}}, type,
             [&](ValueRange v) { return functions.apply(builder, loc, names[int(score)], v[0]); });
}

// score_over all: s = f(h), c = f(h or its Gumbel form) + b. score_over selected: selection is on h itself.
void LayerBuilder::scoreLogits(RouterValues &values) {
  const RouterSpec &router = spec.router;
  NoisyLogits noisy = withNoise(values.logits);
  bool all = router.scoreOver == ScoreOver::All;
  values.scores = all ? scored(router.score, noisy.weights) : noisy.weights;
  values.choice = noisy.choice == noisy.weights ? values.scores
                  : all                         ? scored(router.score, noisy.choice)
                                                : noisy.choice;
  if (router.choiceBias)
    values.choice = map({{values.choice, OperandKind::elem}, {parameter("router.choice_bias"), OperandKind::col}},
                        cast<RankedTensorType>(values.choice.getType()), [&](ValueRange v) { return add(v[0], v[1]); });
  if (router.groups)
    values.choice = maskedByGroups(values.choice);
}

RouterValues LayerBuilder::buildRouter() {
  RouterKind kind = spec.router.kind;
  if (kind == RouterKind::Soft)
    return buildSoft();
  if (kind == RouterKind::ExpertChoice)
    return buildExpertChoice();
  RouterValues values;
  if (kind == RouterKind::Hierarchical) {
    chooseByLevels(values);
  } else {
    if (spec.hasRouterWeight())
      values.logits = logits(spec.router, "router.weight");
    if (values.logits && kind != RouterKind::ProductKey)
      scoreLogits(values);
    choose(values);
    gatherWeights(values);
  }
  dropAbsent(values);
  finishWeights(values);
  values.added = constantExperts(values);
  return values;
}

} // namespace moec
