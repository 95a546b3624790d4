// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildChoice.h"

#include "codegen/build/Scores.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

// What random training does with choices comes last.
Choices ChoiceBuilder::choose(Value logits, const RouterScores &scores) {
  Choices out = chosen(logits, scores);
  if (spec.router.kind != RouterKind::ProductKey) // which has replaced them before it made scores
    out.ids = replaced(out.ids);
  if (spec.takesExpertMask()) {
    out.ids = dropped(out.ids);
    out.partial = true;
    if (out.weights)
      out.weights = maskedBy(out.weights, out.ids, 0);
  }
  return out;
}

// replace_ids where replace < p; places without a choice stay without one
Value ChoiceBuilder::replaced(Value ids) {
  if (!spec.replacesIds())
    return ids;
  return map({{ids, OperandKind::elem},
              {layer.input("replace"), OperandKind::elem},
              {layer.input("replace_ids"), OperandKind::elem}},
             typeOf(ids), [&](ValueRange v) {
               Value other = select(isIndex(v[2], spec.routerRows()), v[2], v[0]);
               Value now = select(isGreater(number(spec.router.randomReplace), v[1]), other, v[0]);
               return select(isChosen(v[0]), now, v[0]);
             });
}

Value ChoiceBuilder::dropped(Value ids) {
  return map({{ids, OperandKind::elem}, {take(layer.input("expert_mask"), ids), OperandKind::elem}}, typeOf(ids),
             [&](ValueRange v) { return select(isZero(v[1]), integer(-1), v[0]); });
}

Choices ChoiceBuilder::chosen(Value logits, const RouterScores &scores) {
  const RouterSpec &router = spec.router;
  switch (router.kind) {
  case RouterKind::Dense: {
    Choices all;
    all.ids = columns(spec.routerRows());
    return all;
  }
  case RouterKind::ProductKey:
    return productKeys(logits);
  case RouterKind::TokenChoice:
    if (router.select.kind == SelectKind::SparseMixer)
      return sparse(noise.withNoise(logits).weights);
    if (router.select.kind == SelectKind::SecondPolicy)
      return pair(noise.withNoise(logits), scores);
    return ranked(scores);
  default:
    return given(scores);
  }
}

// ---- the best ---------------------------------------------------------------------------------------------------

// [T,k] how many prefixes up to column n sum to p or more; scores may be negative, so that sums can fall below p again.
Value ChoiceBuilder::reachedBefore(Value scores, double p) {
  Value sums = moe::PrefixSumOp::create(builder, loc, typeOf(scores), scores);
  Value reached = map({{sums, OperandKind::elem}}, typeOf(scores), [&](ValueRange v) {
    Value enough = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGE, v[0], number(p));
    return select(enough, number(1), number(0));
  });
  Value before = moe::PrefixSumOp::create(builder, loc, typeOf(scores), reached);
  return map({{before, OperandKind::elem}, {reached, OperandKind::elem}}, typeOf(scores),
             [&](ValueRange v) { return add(v[0], v[1]); });
}

// The k largest choice values, or k / count of every group.
Value ChoiceBuilder::ordered(const RouterScores &scores) {
  int64_t groups = spec.choosesInEachGroup() ? spec.router.groups->count : 1;
  return topK(scores.choice, spec.choices() / groups, groups);
}

// The k best; of them the shortest prefix whose scores reach p, those above the threshold, the call's first top_k.
Choices ChoiceBuilder::ranked(const RouterScores &scores) {
  const RouterSelect &chosen = spec.router.select;
  int64_t k = spec.choices();
  Choices out;
  Value order = ordered(scores);
  out.ids = noise.ofKnownGroup(order);
  bool shorter = chosen.kind != SelectKind::TopK || spec.inputs.topK;
  out.partial = shorter || spec.router.tokenGroups;
  if (!shorter)
    return out;
  bool prefix = chosen.kind == SelectKind::TopP;
  SmallVector<Bound> operands = {{order, OperandKind::elem}, {columns(k), OperandKind::elem}};
  if (spec.inputs.topK)
    operands.push_back({layer.input("top_k"), OperandKind::scalar});
  else if (prefix)
    operands.push_back({reachedBefore(take(scores.weights, order), chosen.p), OperandKind::elem});
  else
    operands.push_back({take(scores.choice, order), OperandKind::elem});
  out.ids = map(operands, rows(i32(), k), [&](ValueRange v) {
    if (spec.inputs.topK)
      return select(isLess(v[1], v[2]), v[0], integer(-1));
    Value more = prefix ? isZero(v[2]) : isGreater(v[2], number(chosen.threshold));
    return select(either(equal(v[1], 0), more), v[0], integer(-1)); // the best is always chosen
  });
  out.ids = noise.ofKnownGroup(out.ids);
  return out;
}

// ---- pairs ------------------------------------------------------------------------------------------------------

// The two best, the second by Gumbel-perturbed logits where the policy says so: the first is out of that race.
Choices ChoiceBuilder::pair(const NoisyLogits &logits, const RouterScores &scores) {
  Choices out;
  out.ids = topK(scores.choice, 2);
  if (spec.router.select.second != SecondPolicy::Gumbel)
    return out;
  int64_t count = spec.routerRows();
  Value first = take(out.ids, columns(1));
  SmallVector<Bound> racers = {{logits.weights, OperandKind::elem},
                               {layer.input("noise"), OperandKind::elem},
                               {columns(count), OperandKind::elem},
                               {first, OperandKind::segment}};
  bool drops = spec.takesExpertMask() && spec.router.expertDropout.at == DropExpertsAt::Before;
  if (drops)
    racers.push_back({layer.input("expert_mask"), OperandKind::elem});
  Value race = map(racers, rows(f32(), count), [&](ValueRange v) {
    Value taken = equal(v[2], v[3]);
    if (drops)
      taken = either(taken, isZero(v[4]));
    return select(taken, number(std::numeric_limits<double>::quiet_NaN()), add(v[0], v[1]));
  });
  out.ids = map({{out.ids, OperandKind::elem},
                 {columns(2), OperandKind::elem},
                 {first, OperandKind::segment},
                 {topK(race, 1), OperandKind::segment}},
                rows(i32(), 2), [&](ValueRange v) {
                  Value same = equal(v[2], v[3]);
                  return select(either(same, equal(v[1], 0)), v[0], v[3]);
                });
  return out;
}

// Each pick i = argmax z of what is left, w = softmax at i over the j with (z_i - z_j) / max(|z_j|, z_i) <= 2ε. The
// picks are therefore the two largest logits. In training the caller has sampled them; m, the largest of what is left,
// takes the place of z_i.
Choices ChoiceBuilder::sparse(Value z) {
  Choices out;
  bool samples = spec.takesSamples();
  out.ids = samples ? sampled() : topK(z, 2);
  out.partial = samples;
  Value best = samples ? Value() : take(z, out.ids);
  Value first = take(out.ids, columns(1));
  Value numbers = columns(columnsOf(z));
  auto largest = [&](int32_t pick) {
    if (!samples)
      return columnOf(best, pick);
    if (pick == 0)
      return reduced(z, moe::ReduceKind::max);
    Value others = map({{z, OperandKind::elem}, {numbers, OperandKind::elem}, {first, OperandKind::segment}}, typeOf(z),
                       [&](ValueRange v) { return select(equal(v[1], v[2]), number(negInf), v[0]); });
    return reduced(others, moe::ReduceKind::max);
  };
  auto weightsOf = [&](int32_t pick) {
    Value left = map({{z, OperandKind::elem},
                      {largest(pick), OperandKind::row},
                      {numbers, OperandKind::elem},
                      {first, OperandKind::segment}},
                     typeOf(z), [&](ValueRange v) {
                       Value size = math::AbsFOp::create(builder, loc, v[0]);
                       Value larger = isGreater(v[1], size);
                       Value gap = divide(subtract(v[1], v[0]), select(larger, v[1], size));
                       Value removed = isGreater(gap, number(2 * spec.router.select.eps));
                       if (pick == 1)
                         removed = either(removed, equal(v[2], v[3]));
                       return select(removed, number(negInf), v[0]);
                     });
    return take(softmax(left), out.ids);
  };
  Value weights[] = {weightsOf(0), weightsOf(1)};
  out.weights = map({{weights[0], OperandKind::elem}, {weights[1], OperandKind::elem}, {columns(2), OperandKind::elem}},
                    rows(f32(), 2), [&](ValueRange v) { return select(equal(v[2], 0), v[0], v[1]); });
  if (samples) // f(x) - f(0) = f'(x) / 4 + 3 f'(x / 3) / 4: the gradient is that of the score, at x or at its third
    out.weights =
        map({{out.weights, OperandKind::elem}, {layer.input("midpoint_mask"), OperandKind::elem}}, rows(f32(), 2),
            [&](ValueRange v) { return withGradientOf(select(isZero(v[1]), scaled(v[0], 1.0 / 3), v[0]), v[0]); });
  return out;
}

Value ChoiceBuilder::sampled() {
  return map({{layer.input("expert_ids"), OperandKind::elem}}, rows(i32(), 2),
             [&](ValueRange v) { return select(isIndex(v[0], spec.routerRows()), v[0], integer(-1)); });
}

// ---- product keys -----------------------------------------------------------------------------------------------

// a = z[0:n], b = z[n:2n]: the m = min(k, n) best of each, ascending, make m·m pairs; id = i·n + j of the k best sums.
Choices ChoiceBuilder::productKeys(Value logits) {
  const RouterSpec &router = spec.router;
  int64_t n = spec.subKeys();
  int64_t k = spec.choices();
  int64_t m = std::min(k, n);
  NoisyLogits noisy = noise.withNoise(logits);
  // columns of the best, in ascending order so that among equal sums the lower id comes first
  Value best = topK(noisy.choice, m, 2);
  Value descending = map({{best, OperandKind::elem}}, rows(f32(), 2 * m), [&](ValueRange v) -> Value {
    return arith::NegFOp::create(builder, loc, arith::SIToFPOp::create(builder, loc, f32(), v[0]));
  });
  best = take(best, topK(descending, m, 2));
  Value pairs = columns(m * m);
  auto half = [&](Value from, Value pair, bool second) {
    return take(from, map({{pair, OperandKind::elem}}, rows(i32(), columnsOf(pair)), [&](ValueRange v) {
                  return second ? plus(remainder(v[0], int32_t(m)), int32_t(m)) : quotient(v[0], int32_t(m));
                }));
  };
  auto sum = [&](Value a, Value b) {
    return map({{a, OperandKind::elem}, {b, OperandKind::elem}}, typeOf(a),
               [&](ValueRange v) { return add(v[0], v[1]); });
  };
  Value reached = take(noisy.choice, best);
  Value chosen = topK(sum(half(reached, pairs, false), half(reached, pairs, true)), k);
  Value first = half(best, chosen, false); // columns of z
  Value second = half(best, chosen, true);
  Choices out;
  out.partial = spec.inputs.topK;
  SmallVector<Bound> operands = {{first, OperandKind::elem}, {second, OperandKind::elem}};
  if (out.partial)
    operands.append({{columns(k), OperandKind::elem}, {layer.input("top_k"), OperandKind::scalar}});
  out.ids = map(operands, rows(i32(), k), [&](ValueRange v) -> Value {
    Value id = arith::AddIOp::create(builder, loc, times(v[0], int32_t(n)), plus(v[1], int32_t(-n)));
    return out.partial ? select(isLess(v[2], v[3]), id, integer(-1)) : id;
  });
  if (spec.replacesIds()) {
    out.ids = replaced(out.ids);
    auto column = [&](bool other) {
      return map({{out.ids, OperandKind::elem}}, rows(i32(), k), [&](ValueRange v) {
        Value own = other ? plus(remainder(v[0], int32_t(n)), int32_t(n)) : quotient(v[0], int32_t(n));
        return select(isChosen(v[0]), own, v[0]);
      });
    };
    first = column(false);
    second = column(true);
  }
  bool all = router.scoreOver == ScoreOver::All;
  if (all && router.score == Score::Softmax) {
    Value halves = softmax(noisy.weights, 2); // the softmax over all sums is the product of both
    out.scores = map({{take(halves, first), OperandKind::elem}, {take(halves, second), OperandKind::elem}},
                     rows(f32(), k), [&](ValueRange v) { return multiply(v[0], v[1]); });
    return out;
  }
  out.scores = sum(take(noisy.weights, first), take(noisy.weights, second));
  if (all)
    out.scores = scored(*this, router.score, "router.score", out.scores);
  return out;
}

// ---- given ------------------------------------------------------------------------------------------------------

// table[token_id], or the caller's ids; ids of no expert become -1. Groups of tokens from 1 on take the best instead.
Choices ChoiceBuilder::given(const RouterScores &scores) {
  int64_t k = spec.choices();
  bool table = spec.router.kind == RouterKind::Table;
  Value ids;
  if (table)
    ids =
        moe::LookupOp::create(builder, loc, rows(f32(), k), layer.parameter("router.table"), layer.input("token_ids"));
  else
    ids = layer.input("expert_ids");
  Choices out;
  out.partial = true;
  out.ids = map({{ids, OperandKind::elem}}, rows(i32(), k), [&](ValueRange v) {
    Value id = v[0];
    if (table)
      id = arith::FPToSIOp::create(builder, loc, i32(), v[0]);
    return select(isIndex(id, spec.routerRows()), id, integer(-1));
  });
  if (!spec.router.tokenGroups)
    return out;
  Value chosen = noise.ofKnownGroup(ordered(scores));
  out.ids =
      map({{out.ids, OperandKind::elem}, {chosen, OperandKind::elem}, {layer.input("group_ids"), OperandKind::row}},
          typeOf(out.ids), [&](ValueRange v) { return select(equal(v[2], 0), v[0], v[1]); });
  return out;
}

} // namespace moec
