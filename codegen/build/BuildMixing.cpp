// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kinds in which experts take tokens instead of tokens experts: expert choice as a route of every expert a token was
// taken by, soft routing as a route of slots.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

static constexpr double negInf = -std::numeric_limits<double>::infinity();

static moe::Scope scopeOf(SelectScope scope) {
  return scope == SelectScope::Batch ? moe::Scope::batch : moe::Scope::sequence;
}

Value LayerBuilder::tokenReduce(Value values, moe::ReduceKind kind, moe::Scope scope) {
  return moe::TokenReduceOp::create(builder, loc, values.getType(), values, kind, scope);
}

// exp(v - max) / Σ exp(v - max) over the tokens of a scope, column by column; 0 where v is -inf
Value LayerBuilder::tokenSoftmax(Value values, moe::Scope scope) {
  auto type = cast<RankedTensorType>(values.getType());
  Value high = tokenReduce(values, moe::ReduceKind::max, scope);
  Value shifted = map({{values, OperandKind::elem}, {high, OperandKind::elem}}, type, [&](ValueRange v) {
    Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(negInf));
    Value power = math::ExpOp::create(builder, loc, arith::SubFOp::create(builder, loc, v[0], v[1]));
    return select(none, number(0), power);
  });
  Value sum = tokenReduce(shifted, moe::ReduceKind::sum, scope);
  return map({{shifted, OperandKind::elem}, {sum, OperandKind::elem}}, type, [&](ValueRange v) {
    Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(0));
    return select(none, number(0), divide(v[0], v[1]));
  });
}

// score_over selected and normalize over expert: over the tokens an expert took.
Value LayerBuilder::overExperts(Value weights, Value ids, moe::Scope scope) {
  const RouterSpec &router = spec.router;
  auto type = cast<RankedTensorType>(weights.getType());
  if (router.scoreOver == ScoreOver::Selected)
    weights = router.score == Score::Softmax ? tokenSoftmax(maskedBy(weights, ids, negInf), scope)
                                             : maskedBy(scored(router.score, weights), ids, 0);
  const RouterNormalize &normalize = router.normalize;
  if (normalize.over != NormalizeOver::Expert || normalize.kind == NormalizeKind::None)
    return weights;
  if (normalize.kind == NormalizeKind::Softmax)
    return tokenSoftmax(maskedBy(weights, ids, negInf), scope);
  Value sum = tokenReduce(powered(normalize, weights), moe::ReduceKind::sum, scope);
  Value divided = map({{weights, OperandKind::elem}, {sum, OperandKind::elem}}, type,
                      [&](ValueRange v) { return divide(v[0], divisor(normalize, rooted(normalize, v[1]))); });
  return maskedBy(divided, ids, 0);
}

// S = score(z); expert e takes the C tokens with the largest S[:,e]. ids[t,e] = e where it took t, else -1.
RouterValues LayerBuilder::buildExpertChoice() {
  const RouterSpec &router = spec.router;
  const RouterSelect &chosen = router.select;
  int64_t experts = spec.experts.count;
  moe::Scope scope = scopeOf(chosen.scope);
  RouterValues values;
  values.logits = logits(router, "router.weight");
  scoreLogits(values);
  bool share = !chosen.tokens;
  Type i32 = builder.getI32Type();
  Value mask = moe::TopTokensOp::create(
      builder, loc, rows(i32, experts), values.choice, present, share ? moe::PlacesMode::share : moe::PlacesMode::fixed,
      APFloat(share ? *chosen.capacityFactor : double(*chosen.tokens)), uint64_t(1), uint64_t(share ? experts : 1),
      moe::Rounding::nearest, uint64_t(1), uint64_t(INT32_MAX), scope, uint64_t(0));
  values.ids = map({{mask, OperandKind::elem}, {columns(experts), OperandKind::elem}}, rows(i32, experts),
                   [&](ValueRange v) { return select(equal(v[0], 0), integer(-1), v[1]); });
  values.wanted = values.kept = values.ids;
  values.partial = true;
  values.weights = overExperts(maskedBy(values.scores, values.ids, 0), values.ids, scope);
  if (router.normalize.over == NormalizeOver::Token)
    values.weights = normalized(router.normalize, values.weights, values.ids, true);
  values.weights = scaledWeights(values.weights, values.ids);
  if (router.unselected == Unselected::Identity) {
    Value count = sumRows(map({{values.ids, OperandKind::elem}}, rows(builder.getF32Type(), experts),
                              [&](ValueRange v) { return select(isChosen(v[0]), number(1), number(0)); }));
    values.passed = map({{count, OperandKind::elem}}, rowVector(builder.getF32Type()), [&](ValueRange v) {
      Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(0));
      return select(none, number(1), number(0));
    });
  }
  return values;
}

// Experts that take tokens take few of them: a scope of n tokens gives E · C rows. Else K per token.
moe::RouteType LayerBuilder::routeOfExperts(int64_t experts) {
  int64_t choices = spec.choices();
  const RouterSelect &chosen = spec.router.select;
  MLIRContext *context = builder.getContext();
  if (spec.router.kind != RouterKind::ExpertChoice)
    return moe::RouteType::get(context, experts, choices);
  bool batch = chosen.scope == SelectScope::Batch;
  // C <= max(1, factor · n / E + 1/2): E · C <= factor · n + E
  int64_t perToken = chosen.tokens ? 0 : int64_t(std::ceil(*chosen.capacityFactor));
  int64_t perScope = experts * (chosen.tokens ? std::min<int64_t>(*chosen.tokens, INT32_MAX / experts) : 1);
  if (perToken >= choices)
    return moe::RouteType::get(context, experts, choices);
  return moe::RouteType::get(context, experts, choices, perToken, batch ? 0 : perScope, batch ? perScope : 0);
}

//   L = x·Φᵀ [T, E·P]   D = softmax of L over tokens   C = softmax of L over slots, or D
RouterValues LayerBuilder::buildSoft() {
  const RouterSpec &router = spec.router;
  int64_t slots = spec.experts.count * router.slots;
  moe::Scope scope = scopeOf(router.scope);
  Type f32 = builder.getF32Type();
  RouterValues values;
  values.logits = logits(router, "router.slots");
  Value z = withNoise(values.logits).weights;
  auto absentTo = [&](Value from, double other) {
    if (!present)
      return from;
    return map({{from, OperandKind::elem}, {present, OperandKind::segment}}, rows(f32, slots),
               [&](ValueRange v) { return select(equal(v[1], 0), number(other), v[0]); });
  };
  values.scores = tokenSoftmax(absentTo(z, negInf), scope);
  bool own = router.combineWeights == CombineWeights::Own;
  values.weights = scaledOutput(own ? absentTo(scored(Score::Softmax, z), 0) : values.scores, router.scale);
  values.route = slotRoute(spec.experts.count);
  return values;
}

// P rows for each of `experts` experts and every scope.
Value LayerBuilder::slotRoute(int64_t experts) {
  int64_t slots = experts * spec.router.slots;
  moe::Scope scope = scopeOf(spec.router.scope);
  bool sequence = scope == moe::Scope::sequence;
  auto type = moe::RouteType::get(builder.getContext(), experts, slots, 0, sequence ? slots : 0, sequence ? 0 : slots);
  return moe::SlotsOp::create(builder, loc, type, scope);
}

//   slot_s = Σ_t D[t,s]·x_t   o_s = expert_{s/P}(slot_s)   y_t = Σ_s C[t,s]·o_s
// A latent projection before the slots is one after them, because every column of D sums to 1.
Value LayerBuilder::slotOutputs(const RouterValues &router, Value tokens) {
  int64_t width = spec.experts.latent ? spec.experts.latent->dim : spec.hidden;
  Value input = moe::SlotInputsOp::create(builder, loc, tokens.getType(), tokens, router.scores, router.route);
  Value output = expertOutputs(input, router.route, router);
  return moe::CombineOp::create(builder, loc, rows(builder.getF32Type(), width), output, router.route, router.weights,
                                ValueRange(), builder.getArrayAttr({}));
}

Value LayerBuilder::buildSlotExperts(const RouterValues &router) {
  Value tokens = spec.experts.latent ? latentIn() : x;
  Value combined = spec.experts.heterogeneous() ? buildClasses(router, tokens) : slotOutputs(router, tokens);
  if (!spec.experts.latent)
    return combined;
  return latentOut(combined, spec.experts.latent->bias ? sumRows(router.weights) : Value());
}

} // namespace moec
