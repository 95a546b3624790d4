// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildWeights.h"

#include "codegen/build/Normalizer.h"
#include "codegen/build/Routes.h"
#include "codegen/build/Scores.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// ---- gather -----------------------------------------------------------------------------------------------------

// weight_mode one: 1, mean: 1 / (choices of the token)
Value WeightsBuilder::equalWeights(const Choices &choices) {
  bool mean = spec.router.weightMode == WeightMode::Mean;
  int64_t k = spec.choices();
  RankedTensorType type = rows(f32(), k);
  Value weights = map({}, type, [&](ValueRange) { return number(mean && !choices.partial ? 1.0 / double(k) : 1.0); });
  if (!choices.partial)
    return weights;
  weights = maskedBy(weights, choices.ids, 0);
  if (!mean)
    return weights;
  return map({{weights, OperandKind::elem}, {sumRows(weights), OperandKind::row}}, type,
             [&](ValueRange v) { return divide(v[0], atLeast(v[1], 1)); });
}

// Columns of shared experts have the number 0: they are always there.
Value WeightsBuilder::withShared(Value ids) {
  if (!ids || !scores.shared)
    return ids;
  SmallVector<int32_t> none(size_t(columnsOf(scores.shared)), 0);
  return joined({ids, numbers(none)});
}

// f of the chosen logits; places without a choice get the weight 0
Value WeightsBuilder::scoredSelection(Value logits, Value ids) {
  if (ids && spec.router.score == Score::Softmax)
    logits = maskedBy(logits, ids, negInf);
  Value weights = scored(*this, spec.router.score, "router.score", logits);
  return ids ? maskedBy(weights, ids, 0) : weights;
}

void WeightsBuilder::gather(Choices &choices) {
  choices.weights = gathered(choices);
  bool selected = spec.router.scoreOver == ScoreOver::Selected;
  Value ids = choices.partial ? choices.ids : Value();
  bool fromLogits = selected && spec.router.weightMode == WeightMode::Gathered &&
                    spec.router.select.kind != SelectKind::SparseMixer && (scores.weights || choices.scores);
  if (!scores.shared) {
    if (fromLogits)
      choices.weights = scoredSelection(choices.weights, ids);
    return;
  }
  choices.shared = scores.shared;
  if (!fromLogits)
    return;
  int64_t k = columnsOf(choices.weights);
  Value all = scoredSelection(joined({choices.weights, scores.shared}), withShared(ids));
  choices.weights = part(all, 0, k);
  choices.shared = part(all, k, columnsOf(scores.shared));
}

Value WeightsBuilder::gatheredScores(const Choices &choices) {
  if (choices.scores)
    return choices.partial ? maskedBy(choices.scores, choices.ids, 0) : choices.scores;
  return spec.router.kind == RouterKind::Dense ? scores.weights : take(scores.weights, choices.ids);
}

// With straight_through the gradient of a weight is that of its score.
Value WeightsBuilder::fixedWeights(const Choices &choices) {
  Value fixed = equalWeights(choices);
  if (!spec.router.straightThrough || !spec.trains() || (!scores.weights && !choices.scores))
    return fixed;
  Value soft = gatheredScores(choices);
  if (spec.router.scoreOver == ScoreOver::Selected)
    soft = scoredSelection(soft, choices.partial ? choices.ids : Value());
  return map({{fixed, OperandKind::elem}, {soft, OperandKind::elem}}, typeOf(fixed),
             [&](ValueRange v) { return withGradientOf(v[0], v[1]); });
}

// w_j = s[id_j], or the chosen logits
Value WeightsBuilder::gathered(const Choices &choices) {
  const RouterSpec &router = spec.router;
  if (router.select.kind == SelectKind::SparseMixer)
    return choices.weights;
  if (router.kind == RouterKind::External)
    return maskedBy(layer.input("expert_weights"), choices.ids, 0);
  if (router.weightMode != WeightMode::Gathered || (!scores.weights && !choices.scores))
    return fixedWeights(choices);
  return gatheredScores(choices);
}

// ---- normalise and scale ----------------------------------------------------------------------------------------

Value WeightsBuilder::scaledWeights(Value weights, Value ids) {
  const RouterSpec &router = spec.router;
  bool rounds = router.weightDType == WeightDType::Activation && spec.dtype.activation != DataType::F32;
  SmallVector<Bound> operands = {{weights, OperandKind::elem}};
  if (router.globalScale)
    operands.push_back({layer.parameter("router.global_scale"), OperandKind::scalar});
  if (router.expertScale && ids)
    operands.push_back({take(layer.parameter("router.expert_scale"), ids), OperandKind::elem});
  if (operands.size() == 1 && router.scale == 1 && !rounds)
    return weights;
  bool learned = operands.size() > 1;
  return map(operands, typeOf(weights), [&](ValueRange v) {
    auto times = [&](Value weight) {
      weight = scaled(weight, router.scale);
      for (Value factor : v.drop_front())
        weight = multiply(weight, factor);
      return weight;
    };
    Value weight = times(v[0]);
    if (learned && differentiated()) { // a weight of 0 / 0 that capacity drops has no part in a factor's gradient
      Value isNumber = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::ORD, v[0], v[0]);
      weight = withGradientOf(weight, times(select(isNumber, v[0], number(0))));
    }
    return rounds ? toF32(fromF32(weight, elementOf(spec.dtype.activation))) : weight;
  });
}

Value WeightsBuilder::normalized(const Choices &choices) {
  Value weights = choices.shared ? joined({choices.weights, choices.shared}) : choices.weights;
  return Normalizer(*this, spec.router.normalize)
      .overChoices(weights, choices.partial ? withShared(choices.ids) : Value());
}

Value WeightsBuilder::finalWeights(const Choices &choices, RouterValues &out) {
  Value weights = normalized(choices);
  if (!choices.shared)
    return scaledWeights(weights, choices.ids);
  int64_t k = columnsOf(choices.ids);
  out.shared = scaledWeights(part(weights, k, columnsOf(choices.shared)), Value());
  return scaledWeights(part(weights, 0, k), choices.ids);
}

// ---- which choices reach their experts --------------------------------------------------------------------------

// random_2p: the second goes out only where 2·w2 > u. threshold: only where w2 > threshold. w2 = w2 normalised.
Value WeightsBuilder::keptSeconds(const Choices &choices) {
  const RouterSelect &chosen = spec.router.select;
  bool random = chosen.second == SecondPolicy::Random2P;
  if (chosen.kind != SelectKind::SecondPolicy || (!random && chosen.second != SecondPolicy::Threshold))
    return choices.ids;
  SmallVector<Bound> operands = {
      {choices.ids, OperandKind::elem}, {normalized(choices), OperandKind::elem}, {columns(2), OperandKind::elem}};
  if (random)
    operands.push_back({layer.input("uniform"), OperandKind::row});
  return map(operands, rows(i32(), 2), [&](ValueRange v) {
    Value enough = random ? isGreater(scaled(v[1], 2), v[3]) : isGreater(v[1], number(chosen.threshold));
    return select(either(equal(v[2], 0), enough), v[0], integer(-1));
  });
}

static moe::Rounding roundingOf(CapacityRound round) {
  switch (round) {
  case CapacityRound::Floor:
    return moe::Rounding::floor;
  case CapacityRound::Ceil:
    return moe::Rounding::ceil;
  case CapacityRound::Nearest:
    return moe::Rounding::nearest;
  }
  llvm_unreachable("every rounding is above");
}

static Places placesOf(const CapacitySpec &capacity, int64_t experts, int64_t choices) {
  Places places;
  places.value = capacity.value;
  places.round = roundingOf(capacity.round);
  places.least = capacity.min;
  places.most = capacity.max.value_or(places.most);
  places.scope = scopeOf(capacity.scope);
  places.groupTokens = capacity.groupSize;
  switch (capacity.mode) {
  case CapacityMode::Fixed:
    places.mode = moe::PlacesMode::fixed;
    break;
  case CapacityMode::Dynamic:
    places.mode = moe::PlacesMode::given;
    break;
  case CapacityMode::Fraction:
    places.mode = moe::PlacesMode::share;
    break;
  case CapacityMode::Factor:
    places.mode = moe::PlacesMode::share;
    places.times = capacity.perChoice ? choices : 1;
    places.over = experts;
    break;
  }
  return places;
}

// `ids` without those that find no place; those with larger weights may come first.
Value WeightsBuilder::capacity(Value ids, Value weights) {
  const CapacitySpec &capacity = *spec.capacity;
  bool largest = capacity.order == CapacityOrder::LargestPerExpert;
  bool tokenMajor = largest || capacity.major == CapacityMajor::Token;
  Value keys; // the order of the queues; null: by position
  if (largest || capacity.order == CapacityOrder::Score)
    keys = tokenMajor ? weights : take(weights, columns(1));
  if (capacity.order == CapacityOrder::Random)
    keys = asColumn(layer.input("priority"));
  Type queue = keys ? typeOf(ids) : Type();
  Value ranked = capacity.overflow == Overflow::NextBest ? scores.choice : Value();
  Value given = capacity.mode == CapacityMode::Dynamic ? layer.input("capacity") : Value();
  Places places = placesOf(capacity, spec.experts.count, spec.choices());
  auto op = moe::CapacityOp::create(builder, loc, typeOf(ids), queue, ids, keys, ranked, layer.present, given,
                                    uint64_t(spec.experts.count), tokenMajor, places.mode, APFloat(places.value),
                                    uint64_t(places.times), uint64_t(places.over), places.round, uint64_t(places.least),
                                    uint64_t(places.most), places.scope, uint64_t(places.groupTokens));
  return op.getKept();
}

// From gathered weights to final ones, with capacity before or after normalising.
RouterValues WeightsBuilder::finished(Choices choices) {
  bool limited = spec.capacity.has_value();
  bool next = limited && spec.capacity->overflow == Overflow::NextBest;
  bool identity = limited && spec.capacity->dropped == Dropped::Identity && !next;
  RouterValues out;
  out.wanted = keptSeconds(choices);
  Value before = identity ? out.wanted : Value(); // choices that overflow keep their weights, for x
  if (limited && (next || spec.capacity->normalizeAt == NormalizeAt::After)) {
    out.kept = capacity(out.wanted, choices.weights);
    choices.partial = true;
    if (next) {
      choices.ids = out.kept;
      gather(choices); // the score of the expert really used
    }
    Choices used = choices;
    used.ids = before ? before : out.kept;
    used.weights = maskedBy(choices.weights, used.ids, 0);
    out.weights = finalWeights(used, out);
  } else {
    out.weights = finalWeights(choices, out);
    out.kept = limited ? capacity(out.wanted, out.weights) : out.wanted;
    if (out.kept != choices.ids)
      out.weights = maskedBy(out.weights, before ? before : out.kept, 0);
  }
  out.ids = choices.ids;
  out.passed = passed(out.weights, out.kept, before);
  out.added = constantExperts(out.weights, out.kept);
  return out;
}

// ---- experts without parameters ---------------------------------------------------------------------------------

// Identity experts and choices that overflowed lead x around the experts: [T], the sum of their weights. `before` are
// the ids before capacity; null: those that overflow lead nowhere.
Value WeightsBuilder::passed(Value weights, Value kept, Value before) {
  bool zero = spec.experts.zero && spec.experts.zero->kind == ZeroKind::Identity;
  bool dropped = before && before != kept;
  if (!zero && !dropped)
    return {};
  SmallVector<Bound> operands = {{weights, OperandKind::elem}, {kept, OperandKind::elem}};
  if (dropped)
    operands.push_back({before, OperandKind::elem});
  return sumRows(map(operands, typeOf(weights), [&](ValueRange v) {
    Value passes = arith::ConstantOp::create(builder, loc, builder.getBoolAttr(false));
    if (zero)
      passes =
          arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, v[1], integer(int32_t(spec.experts.count)));
    if (dropped) {
      Value overflowed = arith::AndIOp::create(builder, loc, isChosen(v[2]), isLess(v[1], integer(0)));
      passes = either(passes, overflowed);
    }
    return select(passes, v[0], number(0));
  }));
}

// Σ_j w_j · constant of id_j:   p[t,z] = Σ_j w_j where id_j = E + z,   p · Cᵀ
Value WeightsBuilder::constantExperts(Value weights, Value kept) {
  if (!spec.experts.zero || spec.experts.zero->kind != ZeroKind::Constant)
    return {};
  int64_t count = spec.experts.zero->count;
  int64_t k = columnsOf(kept);
  Value pairs = columns(count * k); // z·K + j
  Value choice = map({{pairs, OperandKind::elem}}, rows(i32(), count * k),
                     [&](ValueRange v) { return remainder(v[0], int32_t(k)); });
  Value own = map(
      {{take(weights, choice), OperandKind::elem}, {take(kept, choice), OperandKind::elem}, {pairs, OperandKind::elem}},
      rows(f32(), count * k), [&](ValueRange v) {
        Value id = plus(quotient(v[2], int32_t(k)), int32_t(spec.experts.count));
        return select(equal(v[1], id), v[0], number(0));
      });
  Value shares = count * k > 1 ? reducedRuns(own, moe::ReduceKind::sum, count) : own;
  return matmul(shares, layer.parameter("experts.zero_constant"), Value());
}

} // namespace moec
