// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Choice values, or what the caller gives -> ids [T,K]: group limit, top-k and its relatives, tables, two levels.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

static constexpr double negInf = -std::numeric_limits<double>::infinity();

// The columns of all but the best `keep` groups become 0 or -inf.
Value LayerBuilder::maskedByGroups(Value choice) {
  const RouterGroups &groups = *spec.router.groups;
  auto reduced = [&](Value from, moe::ReduceKind kind) -> Value {
    return moe::ReduceOp::create(builder, loc, rows(builder.getF32Type(), groups.count), from, kind,
                                 builder.getI64IntegerAttr(groups.count));
  };
  Value score;
  if (groups.score == GroupScore::Top2Sum)
    score = reduced(take(choice, topK(choice, 2, groups.count)), moe::ReduceKind::sum);
  else
    score = reduced(choice, groups.score == GroupScore::Max ? moe::ReduceKind::max : moe::ReduceKind::sum);
  Value mask = moe::MemberOp::create(builder, loc, rows(builder.getI1Type(), groups.count), topK(score, groups.keep));
  double masked = groups.masked == GroupMasked::Zero ? 0.0 : negInf;
  return map({{choice, OperandKind::elem}, {mask, OperandKind::segment}}, cast<RankedTensorType>(choice.getType()),
             [&](ValueRange v) { return select(v[1], v[0], number(masked)); });
}

// [T,k] how many prefixes up to column n sum to p or more; scores may be negative, so that sums can fall below p again.
Value LayerBuilder::reachedBefore(Value scores, double p) {
  auto type = cast<RankedTensorType>(scores.getType());
  Value sums = moe::PrefixSumOp::create(builder, loc, type, scores);
  Value reached = map({{sums, OperandKind::elem}}, type, [&](ValueRange v) {
    Value enough = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGE, v[0], number(p));
    return select(enough, number(1), number(0));
  });
  Value before = moe::PrefixSumOp::create(builder, loc, type, reached);
  return map({{before, OperandKind::elem}, {reached, OperandKind::elem}}, type,
             [&](ValueRange v) { return add(v[0], v[1]); });
}

// The k best; of them the shortest prefix whose scores reach p, those above the threshold, the call's first top_k.
void LayerBuilder::chooseRanked(RouterValues &values) {
  const RouterSelect &chosen = spec.router.select;
  int64_t k = spec.choices();
  Value order = topK(values.choice, k);
  values.ids = order;
  values.partial = chosen.kind != SelectKind::TopK || spec.inputs.topK;
  if (!values.partial)
    return;
  SmallVector<Bound> operands = {{order, OperandKind::elem}, {columns(k), OperandKind::elem}};
  if (spec.inputs.topK)
    operands.push_back({input("top_k"), OperandKind::scalar});
  else if (chosen.kind == SelectKind::TopP)
    operands.push_back({reachedBefore(take(values.scores, order), chosen.p), OperandKind::elem});
  else
    operands.push_back({take(values.choice, order), OperandKind::elem});
  values.ids = map(operands, rows(builder.getI32Type(), k), [&](ValueRange v) -> Value {
    if (spec.inputs.topK)
      return select(arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, v[1], v[2]), v[0], integer(-1));
    bool sum = chosen.kind == SelectKind::TopP;
    Value more = sum ? arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[2], number(0))
                     : arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[2], number(chosen.threshold));
    return select(arith::OrIOp::create(builder, loc, equal(v[1], 0), more), v[0], integer(-1));
  });
}

// a = z[0:n], b = z[n:2n]: the m = min(k, n) best of each, ascending, make m·m pairs; id = i·n + j of the k best sums.
void LayerBuilder::chooseProductKeys(RouterValues &values) {
  const RouterSpec &router = spec.router;
  int64_t n = spec.subKeys(), k = spec.choices(), m = std::min(k, n);
  Type i32 = builder.getI32Type(), f32 = builder.getF32Type();
  NoisyLogits noisy = withNoise(values.logits);
  // columns of the best, in ascending order so that among equal sums the lower id comes first
  Value best = topK(noisy.choice, m, 2);
  Value descending = map({{best, OperandKind::elem}}, rows(f32, 2 * m), [&](ValueRange v) -> Value {
    return arith::NegFOp::create(builder, loc, arith::SIToFPOp::create(builder, loc, builder.getF32Type(), v[0]));
  });
  best = take(best, topK(descending, m, 2));
  Value pairs = columns(m * m);
  auto half = [&](Value from, Value pair, bool second) {
    int64_t count = cast<RankedTensorType>(pair.getType()).getDimSize(1);
    return take(from, map({{pair, OperandKind::elem}}, rows(i32, count), [&](ValueRange v) {
                  return second ? plus(rest(v[0], int32_t(m)), int32_t(m)) : quotient(v[0], int32_t(m));
                }));
  };
  auto sum = [&](Value a, Value b) {
    return map({{a, OperandKind::elem}, {b, OperandKind::elem}}, cast<RankedTensorType>(a.getType()),
               [&](ValueRange v) { return add(v[0], v[1]); });
  };
  Value reached = take(noisy.choice, best);
  Value chosen = topK(sum(half(reached, pairs, false), half(reached, pairs, true)), k);
  Value first = half(best, chosen, false), second = half(best, chosen, true); // columns of z
  values.partial = spec.inputs.topK;
  SmallVector<Bound> operands = {{first, OperandKind::elem}, {second, OperandKind::elem}};
  if (values.partial)
    operands.append({{columns(k), OperandKind::elem}, {input("top_k"), OperandKind::scalar}});
  values.ids = map(operands, rows(i32, k), [&](ValueRange v) -> Value {
    Value id = arith::AddIOp::create(builder, loc, times(v[0], int32_t(n)), plus(v[1], int32_t(-n)));
    if (!values.partial)
      return id;
    return select(arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, v[2], v[3]), id, integer(-1));
  });
  bool all = router.scoreOver == ScoreOver::All;
  if (all && router.score == Score::Softmax) {
    Value halves = scored(Score::Softmax, noisy.weights, 2); // the softmax over all sums is the product of both
    values.chosen = map({{take(halves, first), OperandKind::elem}, {take(halves, second), OperandKind::elem}},
                        rows(f32, k), [&](ValueRange v) { return multiply(v[0], v[1]); });
    return;
  }
  values.chosen = sum(take(noisy.weights, first), take(noisy.weights, second));
  if (all)
    values.chosen = scored(router.score, values.chosen);
}

// The two best, the second by Gumbel-perturbed logits where the policy says so: the first is out of that race.
void LayerBuilder::choosePair(RouterValues &values, const NoisyLogits &logits) {
  values.ids = topK(values.choice, 2);
  if (spec.router.select.second != SecondPolicy::Gumbel)
    return;
  int64_t count = spec.routerRows();
  Value first = take(values.ids, columns(1));
  Value race = map({{logits.weights, OperandKind::elem},
                    {input("noise"), OperandKind::elem},
                    {columns(count), OperandKind::elem},
                    {first, OperandKind::segment}},
                   rows(builder.getF32Type(), count), [&](ValueRange v) {
                     Value taken = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, v[2], v[3]);
                     return select(taken, number(std::numeric_limits<double>::quiet_NaN()), add(v[0], v[1]));
                   });
  values.ids = map({{values.ids, OperandKind::elem},
                    {columns(2), OperandKind::elem},
                    {first, OperandKind::segment},
                    {topK(race, 1), OperandKind::segment}},
                   rows(builder.getI32Type(), 2), [&](ValueRange v) {
                     Value same = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, v[2], v[3]);
                     Value keep = arith::OrIOp::create(builder, loc, same, equal(v[1], 0));
                     return select(keep, v[0], v[3]);
                   });
}

// Each pick i = argmax z of what is left, w = softmax at i over the j with (z_i - z_j) / max(|z_j|, z_i) <= 2ε. The
// picks are therefore the two largest logits.
void LayerBuilder::chooseSparse(RouterValues &values, Value z) {
  auto type = cast<RankedTensorType>(z.getType());
  int64_t count = type.getDimSize(1);
  values.ids = topK(z, 2);
  Value best = take(z, values.ids), first = take(values.ids, columns(1)), numbers = columns(count), weights[2];
  for (int32_t pick = 0; pick < 2; ++pick) {
    Value high =
        sumRows(map({{best, OperandKind::elem}, {columns(2), OperandKind::elem}}, rows(builder.getF32Type(), 2),
                    [&](ValueRange v) { return select(equal(v[1], pick), v[0], number(0)); }));
    Value left = map(
        {{z, OperandKind::elem}, {high, OperandKind::row}, {numbers, OperandKind::elem}, {first, OperandKind::segment}},
        type, [&](ValueRange v) {
          Value size = math::AbsFOp::create(builder, loc, v[0]);
          Value larger = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[1], size);
          Value gap = divide(arith::SubFOp::create(builder, loc, v[1], v[0]), select(larger, v[1], size));
          Value out =
              arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, gap, number(2 * spec.router.select.eps));
          if (pick == 1) {
            Value taken = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, v[2], v[3]);
            out = arith::OrIOp::create(builder, loc, out, taken);
          }
          return select(out, number(negInf), v[0]);
        });
    weights[pick] = take(scored(Score::Softmax, left), values.ids);
  }
  values.weights =
      map({{weights[0], OperandKind::elem}, {weights[1], OperandKind::elem}, {columns(2), OperandKind::elem}},
          rows(builder.getF32Type(), 2), [&](ValueRange v) { return select(equal(v[2], 0), v[0], v[1]); });
}

// table[token_id], or the caller's ids; ids of no expert become -1.
void LayerBuilder::chooseGiven(RouterValues &values) {
  int64_t k = spec.choices();
  RankedTensorType type = rows(builder.getI32Type(), k);
  bool table = spec.router.kind == RouterKind::Table;
  Value given = table ? moe::LookupOp::create(builder, loc, rows(builder.getF32Type(), k), parameter("router.table"),
                                              input("token_ids"))
                            .getResult()
                      : input("expert_ids");
  values.partial = true;
  values.ids = map({{given, OperandKind::elem}}, type, [&](ValueRange v) {
    Value id = table ? arith::FPToSIOp::create(builder, loc, builder.getI32Type(), v[0]).getResult() : v[0];
    Value inside =
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, id, integer(int32_t(spec.routerRows())));
    return select(inside, id, integer(-1));
  });
}

void LayerBuilder::choose(RouterValues &values) {
  const RouterSpec &router = spec.router;
  if (router.kind == RouterKind::Dense)
    values.ids = columns(spec.routerRows());
  else if (router.kind == RouterKind::ProductKey)
    chooseProductKeys(values);
  else if (router.kind != RouterKind::TokenChoice)
    chooseGiven(values);
  else if (router.select.kind == SelectKind::SparseMixer)
    chooseSparse(values, withNoise(values.logits).weights);
  else if (router.select.kind == SelectKind::SecondPolicy)
    choosePair(values, withNoise(values.logits));
  else
    chooseRanked(values);
}

// One level over rows of `segments` runs: ids within the whole row and normalised, scaled weights, k per run.
std::pair<Value, Value> LayerBuilder::chooseLevel(const RouterSpec &level, Value z, int64_t segments) {
  bool all = level.scoreOver == ScoreOver::All;
  Value scores = all ? scored(level.score, z, segments) : z;
  Value ids = topK(scores, level.select.k, segments), weights = take(scores, ids);
  if (!all)
    weights = scored(level.score, weights, segments);
  auto type = cast<RankedTensorType>(weights.getType());
  const RouterNormalize &normalize = level.normalize;
  if (normalize.kind == NormalizeKind::Softmax)
    weights = scored(Score::Softmax, weights, segments);
  if (normalize.kind == NormalizeKind::Sum || normalize.kind == NormalizeKind::Lp) {
    Value powers = powered(normalize, weights);
    Value sums = moe::ReduceOp::create(builder, loc, rows(builder.getF32Type(), segments), powers, moe::ReduceKind::sum,
                                       builder.getI64IntegerAttr(segments));
    weights = map({{weights, OperandKind::elem}, {sums, OperandKind::segment}}, type,
                  [&](ValueRange v) { return divide(v[0], divisor(normalize, rooted(normalize, v[1]))); });
  }
  return {ids, weights};
}

// a = level 0 over G groups, k1 chosen; b = level 1 over the n experts of every group, k2 chosen in each; of those the
// chosen groups' are taken:   id = g·n + e,  w = a_g · b_{g,e}
void LayerBuilder::chooseByLevels(RouterValues &values) {
  const RouterSpec &first = spec.router.levels[0], &second = spec.router.levels[1];
  int64_t groups = first.count, k2 = second.select.k, total = spec.choices();
  Type i32 = builder.getI32Type(), f32 = builder.getF32Type();
  auto [ids, inner] = chooseLevel(second, logits(second, "router.level1.weight"), groups);
  Value top, outer;
  if (first.kind == RouterKind::Table)
    top = map({{input("group_ids"), OperandKind::row}}, rows(i32, 1), [&](ValueRange v) { return v[0]; });
  else
    std::tie(top, outer) = chooseLevel(first, logits(first, "router.level0.weight"), 1);
  // position of choice (j, i) among the groups' choices; of a group that does not exist: none
  Value at = map(
      {{top, OperandKind::segment}, {columns(total), OperandKind::elem}}, rows(i32, total), [&](ValueRange v) -> Value {
        Value own = arith::RemSIOp::create(builder, loc, v[1], integer(int32_t(k2)));
        Value place =
            arith::AddIOp::create(builder, loc, arith::MulIOp::create(builder, loc, v[0], integer(int32_t(k2))), own);
        Value inside = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, v[0], integer(int32_t(groups)));
        return select(inside, place, integer(-1));
      });
  values.partial = first.kind == RouterKind::Table;
  values.ids = map({{take(ids, at), OperandKind::elem}, {at, OperandKind::elem}}, rows(i32, total),
                   [&](ValueRange v) { return select(isChosen(v[1]), v[0], integer(-1)); });
  values.weights = take(inner, at);
  if (outer)
    values.weights = map({{values.weights, OperandKind::elem}, {outer, OperandKind::segment}}, rows(f32, total),
                         [&](ValueRange v) { return multiply(v[0], v[1]); });
}

// Tokens that a wrap leads around the experts choose none.
void LayerBuilder::dropAbsent(RouterValues &values) {
  if (!present)
    return;
  values.partial = true;
  values.ids = map({{values.ids, OperandKind::elem}, {present, OperandKind::segment}},
                   cast<RankedTensorType>(values.ids.getType()),
                   [&](ValueRange v) { return select(equal(v[1], 0), integer(-1), v[0]); });
  values.weights = maskedBy(values.weights, values.ids, 0);
}

} // namespace moec
