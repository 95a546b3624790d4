// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildMixing.h"

#include "codegen/build/BuildWeights.h"
#include "codegen/build/Normalizer.h"
#include "codegen/build/Routes.h"
#include "codegen/build/Scores.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// exp(v - max) / Σ exp(v - max) over the tokens of a scope, column by column; 0 where v is -inf
Value MixingBuilder::tokenSoftmax(Value values, moe::Scope scope) {
  Value high = tokenReduce(values, moe::ReduceKind::max, scope);
  Value shifted = map({{values, OperandKind::elem}, {high, OperandKind::elem}}, typeOf(values), [&](ValueRange v) {
    Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(negInf));
    Value power = math::ExpOp::create(builder, loc, subtract(v[0], v[1]));
    return select(none, number(0), power);
  });
  Value sum = tokenReduce(shifted, moe::ReduceKind::sum, scope);
  return map({{shifted, OperandKind::elem}, {sum, OperandKind::elem}}, typeOf(values),
             [&](ValueRange v) { return select(isZero(v[0]), number(0), divide(v[0], v[1])); });
}

// score_over selected and normalize over expert: over the tokens an expert took.
Value MixingBuilder::overExperts(Value weights, Value ids, moe::Scope scope) {
  Score score = spec.router.score;
  if (spec.router.scoreOver == ScoreOver::Selected) {
    if (score == Score::Softmax)
      weights = tokenSoftmax(maskedBy(weights, ids, negInf), scope);
    else
      weights = maskedBy(scored(*this, score, "router.score", weights), ids, 0);
  }
  const RouterNormalize &normalize = spec.router.normalize;
  if (normalize.over != NormalizeOver::Expert || normalize.kind == NormalizeKind::None)
    return weights;
  if (normalize.kind == NormalizeKind::Softmax)
    return tokenSoftmax(maskedBy(weights, ids, negInf), scope);
  Normalizer normalizer(*this, normalize);
  Value sum = tokenReduce(normalizer.summands(weights), moe::ReduceKind::sum, scope);
  Value divided = map({{weights, OperandKind::elem}, {sum, OperandKind::elem}}, typeOf(weights),
                      [&](ValueRange v) { return normalizer.divided(v[0], v[1]); });
  return maskedBy(divided, ids, 0);
}

// S = score(z); expert e takes the C tokens with the largest S[:,e]. ids[t,e] = e where it took t, else -1.
RouterValues MixingBuilder::expertChoice() {
  const RouterSelect &chosen = spec.router.select;
  int64_t experts = spec.experts.count;
  moe::Scope scope = scopeOf(chosen.scope);
  RouterValues out;
  out.logits = router.logits(spec.router, "router.weight");
  RouterScores scores = router.scores(out.logits);
  Places places;
  places.round = moe::Rounding::nearest;
  places.least = 1;
  places.scope = scope;
  if (chosen.tokens) {
    places.value = double(*chosen.tokens);
  } else {
    places.mode = moe::PlacesMode::share;
    places.value = *chosen.capacityFactor;
    places.over = experts;
  }
  Value mask = topTokens(scores.choice, layer.present, places);
  out.ids = map({{mask, OperandKind::elem}, {columns(experts), OperandKind::elem}}, rows(i32(), experts),
                [&](ValueRange v) { return select(equal(v[0], 0), integer(-1), v[1]); });
  out.wanted = out.ids;
  out.kept = out.ids;
  Value weights = overExperts(maskedBy(scores.weights, out.ids, 0), out.ids, scope);
  if (spec.router.normalize.over == NormalizeOver::Token)
    weights = Normalizer(*this, spec.router.normalize).overChoices(weights, out.ids);
  out.weights = WeightsBuilder(*this, spec, layer, scores).scaledWeights(weights, out.ids);
  if (spec.router.unselected == Unselected::Identity)
    out.passed = map({{countChosen(out.ids), OperandKind::elem}}, rowVector(f32()),
                     [&](ValueRange v) { return select(isZero(v[0]), number(1), number(0)); });
  return out;
}

Value MixingBuilder::absentTo(Value values, double other) {
  if (!layer.present)
    return values;
  return map({{values, OperandKind::elem}, {layer.present, OperandKind::segment}}, typeOf(values),
             [&](ValueRange v) { return select(equal(v[1], 0), number(other), v[0]); });
}

//   L = x·Φᵀ [T, E·P]   D = softmax of L over tokens   C = softmax of L over slots, or D
RouterValues MixingBuilder::soft() {
  RouterValues out;
  out.logits = router.logits(spec.router, "router.slots");
  Value z = router.withNoise(out.logits).weights;
  out.slotWeights = tokenSoftmax(absentTo(z, negInf), scopeOf(spec.router.scope));
  bool own = spec.router.combineWeights == CombineWeights::Own;
  Value weights = own ? absentTo(softmax(z), 0) : out.slotWeights;
  out.weights = scaledRows(weights, spec.router.scale);
  moe::RouteType type = slotRoute(builder.getContext(), spec, spec.experts.count);
  out.route = moe::SlotsOp::create(builder, loc, type, scopeOf(spec.router.scope));
  return out;
}

} // namespace moec
