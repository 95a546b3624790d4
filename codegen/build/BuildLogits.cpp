// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildLogits.h"

#include "codegen/build/Scores.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// v · (1 - ε + 2ε·u), u drawn from [0,1)
Value LogitsBuilder::jittered(Value values, Type type) {
  double size = spec.router.input.jitter;
  return map({{values, OperandKind::elem}, {layer.input("jitter"), OperandKind::elem}}, rows(type, spec.hidden),
             [&](ValueRange v) {
               Value factor = add(scaled(v[1], 2 * size), number(1 - size));
               return fromF32(multiply(toF32(v[0]), factor), type);
             });
}

// x or the residual, in training jittered, or of it v / sqrt(mean(v²) + eps) · scale ∘ weight in f32
Value LogitsBuilder::input() {
  bool fromResidual = spec.router.input.from == BranchInput::Residual;
  Value from = fromResidual ? layer.input("residual") : layer.x;
  // With scope layer x is jittered already.
  if (spec.takesJitter() && (spec.router.input.jitterScope == JitterScope::Router || fromResidual))
    from = jittered(from, f32());
  const std::optional<RouterNorm> &norm = spec.router.input.norm;
  if (!norm)
    return from;
  SmallVector<Bound> operands = {{from, OperandKind::elem}, {squareSums(from), OperandKind::row}};
  if (norm->weight)
    operands.push_back({layer.parameter("router.input_scale"), OperandKind::col});
  return map(operands, rows(f32(), spec.hidden), [&](ValueRange v) {
    Value mean = divide(v[1], number(double(spec.hidden)));
    Value root = squareRoot(add(mean, number(norm->eps)));
    Value value = scaled(divide(toF32(v[0]), root), norm->scale);
    return norm->weight ? multiply(value, v[2]) : value;
  });
}

// z = x·Wᵀ + b, then the transforms. Always f32: a sum in f32 is never rounded to the activation type.
Value LogitsBuilder::logits(const RouterSpec &router, const std::string &role, const std::string &biasRole) {
  Value from = input();
  Value weight = layer.parameter(role);
  Value z = matmul(from, weight, Value());
  if (!router.transform.empty() && router.transform[0].op == TransformOp::Cosine)
    z = cosine(z, from, weight, router.transform[0]);
  if (router.bias)
    z = map({{z, OperandKind::elem}, {layer.parameter(biasRole), OperandKind::col}}, typeOf(z),
            [&](ValueRange v) { return add(v[0], v[1]); });
  for (const LogitTransform &transform : router.transform)
    if (transform.op != TransformOp::Cosine)
      z = transformed(z, transform);
  return z;
}

// scale · z / (sqrt(Σ x² + eps) · sqrt(Σ w² + eps))
Value LogitsBuilder::cosine(Value z, Value from, Value weight, const LogitTransform &transform) {
  Value squares = squareSums(from);
  Value weights = moe::SquareSumsOp::create(builder, loc, RankedTensorType::get({columnsOf(z)}, f32()), weight);
  SmallVector<Bound> operands = {{z, OperandKind::elem}, {squares, OperandKind::row}, {weights, OperandKind::col}};
  if (transform.learned)
    operands.push_back({layer.parameter("router.scale"), OperandKind::scalar});
  return map(operands, typeOf(z), [&](ValueRange v) {
    auto root = [&](Value sum) { return squareRoot(add(sum, number(transform.eps))); };
    Value unit = divide(v[0], multiply(root(v[1]), root(v[2])));
    return transform.learned ? multiply(unit, v[3]) : scaled(unit, transform.value);
  });
}

Value LogitsBuilder::transformed(Value z, const LogitTransform &transform) {
  SmallVector<Bound> operands = {{z, OperandKind::elem}};
  bool learned = transform.op == TransformOp::Temperature && transform.learned;
  if (learned)
    operands.push_back({layer.parameter("router.temperature"), OperandKind::scalar});
  return map(operands, typeOf(z), [&](ValueRange v) -> Value {
    switch (transform.op) {
    case TransformOp::Clamp:
      return atMost(atLeast(v[0], transform.min), transform.max);
    case TransformOp::SoftCap:
      return softCapped(v[0], transform.value);
    case TransformOp::Temperature:
      return divide(v[0], learned ? v[1] : number(transform.value));
    case TransformOp::Cosine:
      break; // part of the product
    }
    return v[0];
  });
}

// f(x·W_n)
Value LogitsBuilder::noiseDeviation() {
  Value deviation = matmul(input(), layer.parameter("router.noise_weight"), Value());
  Score f = spec.router.noise.stdFn == NoiseStdFn::Softmax ? Score::Softmax : Score::Softplus;
  return scored(*this, f, "router.noise.std_fn", deviation);
}

// h = z + σ·n · learned: h = z + n·(f(x·W_n) + eps) · gumbel: for choosing only, so that weights stay those of z
NoisyLogits LogitsBuilder::withNoise(Value z) {
  const RouterNoise &noise = spec.router.noise;
  if (!spec.takesNoise())
    return {z, z};
  SmallVector<Bound> operands = {{z, OperandKind::elem}, {layer.input("noise"), OperandKind::elem}};
  bool learned = noise.kind == NoiseKind::Learned;
  if (learned)
    operands.push_back({noiseDeviation(), OperandKind::elem});
  Value noisy = map(operands, typeOf(z), [&](ValueRange v) {
    if (learned)
      return add(v[0], multiply(v[1], noise.eps == 0 ? v[2] : add(v[2], number(noise.eps))));
    return add(v[0], noise.kind == NoiseKind::Normal ? scaled(v[1], noise.std) : v[1]);
  });
  return {noisy, noise.kind == NoiseKind::Gumbel ? z : noisy};
}

// score_over all: s = f(h), c = f(h or its Gumbel form) + b. score_over selected: selection is on h itself.
RouterScores LogitsBuilder::scores(Value z) {
  const RouterSpec &router = spec.router;
  NoisyLogits noisy = withNoise(z);
  auto score = [&](Value logits) {
    return router.scoreOver == ScoreOver::All ? scored(*this, router.score, "router.score", logits) : logits;
  };
  RouterScores scores;
  scores.weights = score(ofOwnGroup(noisy.weights));
  scores.choice = noisy.choice == noisy.weights ? scores.weights : score(ofOwnGroup(noisy.choice));
  if (int64_t shared = spec.sharedRows()) {
    int64_t routed = columnsOf(z) - shared;
    scores.shared = part(scores.weights, routed, shared);
    scores.choice = scores.weights = part(scores.weights, 0, routed);
  }
  if (router.choiceBias)
    scores.choice = withChoiceBias(scores.choice);
  scores.choice = ofOwnGroup(scores.choice); // a score of 0 could win against one of the own group
  if (router.groups && router.groups->choose == GroupChoose::Best)
    scores.choice = maskedByGroups(scores.choice);
  if (spec.takesExpertMask() && router.expertDropout.at == DropExpertsAt::Before)
    scores.choice = withoutDropped(scores.choice);
  return scores;
}

Value LogitsBuilder::withoutDropped(Value choice) {
  return map({{choice, OperandKind::elem}, {layer.input("expert_mask"), OperandKind::elem}}, typeOf(choice),
             [&](ValueRange v) { return select(isZero(v[1]), number(negInf), v[0]); });
}

Value LogitsBuilder::routerLogits() {
  if (!spec.hasOwnExperts())
    return logits(spec.router, "router.weight");
  SmallVector<Value> parts;
  for (int64_t g = 0; g < spec.router.tokenGroups->count; ++g)
    parts.push_back(logits(spec.router, tokenGroupRole(g, "weight"), tokenGroupRole(g, "bias")));
  return joined(parts);
}

Value LogitsBuilder::ofOwnGroup(Value values) {
  if (!spec.hasOwnExperts())
    return values;
  int32_t each = int32_t(spec.experts.count / spec.router.tokenGroups->count);
  return map({{values, OperandKind::elem},
              {columns(columnsOf(values)), OperandKind::elem},
              {layer.input("group_ids"), OperandKind::row}},
             typeOf(values),
             [&](ValueRange v) { return select(equal(quotient(v[1], each), v[2]), v[0], number(negInf)); });
}

Value LogitsBuilder::ofKnownGroup(Value ids) {
  if (!spec.router.tokenGroups)
    return ids;
  return map({{ids, OperandKind::elem}, {layer.input("group_ids"), OperandKind::row}}, typeOf(ids),
             [&](ValueRange v) { return select(isIndex(v[1], spec.router.tokenGroups->count), v[0], integer(-1)); });
}

// c + b, or + b of the token's group: [R] for all experts, or [R / count] for those of the group.
Value LogitsBuilder::withChoiceBias(Value choice) {
  const std::optional<TokenGroups> &groups = spec.router.tokenGroups;
  SmallVector<Bound> operands = {{choice, OperandKind::elem}};
  if (!groups) {
    operands.push_back({layer.parameter("router.choice_bias"), OperandKind::col});
    return map(operands, typeOf(choice), [&](ValueRange v) { return add(v[0], v[1]); });
  }
  Value group = layer.input("group_ids");
  if (spec.hasOwnExperts()) {
    int32_t each = int32_t(columnsOf(choice) / groups->count);
    for (int32_t g = 0; g < groups->count; ++g) {
      Value place = map({{columns(columnsOf(choice)), OperandKind::elem}}, rows(i32(), columnsOf(choice)),
                        [&](ValueRange v) { return plus(v[0], -g * each); });
      Value bias = take(layer.parameter(tokenGroupRole(g, "choice_bias")), place); // 0 for experts of other groups
      choice = map({{choice, OperandKind::elem}, {bias, OperandKind::elem}}, typeOf(choice),
                   [&](ValueRange v) { return add(v[0], v[1]); });
    }
    return choice;
  }
  int64_t first = spec.router.kind == RouterKind::Table ? 1 : 0; // group 0 of a table's layer has none
  operands.push_back({group, OperandKind::row});
  for (int64_t g = first; g < groups->count; ++g)
    operands.push_back({layer.parameter(tokenGroupRole(g, "choice_bias")), OperandKind::col});
  return map(operands, typeOf(choice), [&](ValueRange v) {
    Value bias = number(0);
    for (int64_t g = first; g < groups->count; ++g)
      bias = select(equal(v[1], int32_t(g)), v[size_t(g - first) + 2], bias);
    return add(v[0], bias);
  });
}

// The columns of all but the best `keep` groups become 0 or -inf.
Value LogitsBuilder::maskedByGroups(Value choice) {
  const RouterGroups &groups = *spec.router.groups;
  Value score;
  switch (groups.score) {
  case GroupScore::Top2Sum:
    score = reducedRuns(take(choice, topK(choice, 2, groups.count)), moe::ReduceKind::sum, groups.count);
    break;
  case GroupScore::Max:
    score = reducedRuns(choice, moe::ReduceKind::max, groups.count);
    break;
  case GroupScore::Sum:
    score = reducedRuns(choice, moe::ReduceKind::sum, groups.count);
    break;
  }
  Value mask = moe::MemberOp::create(builder, loc, rows(builder.getI1Type(), groups.count), topK(score, groups.keep));
  double masked = groups.masked == GroupMasked::Zero ? 0.0 : negInf;
  return map({{choice, OperandKind::elem}, {mask, OperandKind::segment}}, typeOf(choice),
             [&](ValueRange v) { return select(v[1], v[0], number(masked)); });
}

} // namespace moec
