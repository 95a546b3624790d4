// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ids and scores -> final weights [T,K] and the choices that reach their experts: gather, normalise, scale, capacity.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

static constexpr double negInf = -std::numeric_limits<double>::infinity();

// w_j = s[id_j], or f over the chosen logits only; weight_mode one: 1, mean: 1 / (choices of the token)
void LayerBuilder::gatherWeights(RouterValues &values) {
  const RouterSpec &router = spec.router;
  int64_t k = spec.choices();
  RankedTensorType type = rows(builder.getF32Type(), k);
  if (router.select.kind == SelectKind::SparseMixer)
    return;
  if (router.kind == RouterKind::External) {
    values.weights = maskedBy(input("expert_weights"), values.ids, 0);
    return;
  }
  bool mean = router.weightMode == WeightMode::Mean;
  if (router.weightMode != WeightMode::Gathered || (!values.scores && !values.chosen)) {
    values.weights = map({}, type, [&](ValueRange) { return number(mean && !values.partial ? 1.0 / double(k) : 1.0); });
    if (!values.partial)
      return;
    values.weights = maskedBy(values.weights, values.ids, 0);
    if (mean)
      values.weights = map({{values.weights, OperandKind::elem}, {sumRows(values.weights), OperandKind::row}}, type,
                           [&](ValueRange v) { return divide(v[0], atLeast(v[1], 1)); });
    return;
  }
  if (values.chosen)
    values.weights = values.partial ? maskedBy(values.chosen, values.ids, 0) : values.chosen;
  else
    values.weights = router.kind == RouterKind::Dense ? values.scores : take(values.scores, values.ids);
  if (router.scoreOver == ScoreOver::All)
    return;
  if (values.partial && router.score == Score::Softmax)
    values.weights = maskedBy(values.weights, values.ids, negInf);
  values.weights = scored(router.score, values.weights);
  if (values.partial)
    values.weights = maskedBy(values.weights, values.ids, 0);
}

// What the norm sums: v, |v|, v² or |v|^p
Value LayerBuilder::powered(const RouterNormalize &normalize, Value values) {
  if (normalize.kind == NormalizeKind::Sum)
    return values;
  return map({{values, OperandKind::elem}}, cast<RankedTensorType>(values.getType()), [&](ValueRange v) -> Value {
    if (normalize.p == 2)
      return multiply(v[0], v[0]);
    Value size = math::AbsFOp::create(builder, loc, v[0]);
    return normalize.p == 1 ? size : power(size, normalize.p);
  });
}

// The norm of such a sum, a scalar inside a map.
Value LayerBuilder::rooted(const RouterNormalize &normalize, Value sum) {
  if (normalize.kind == NormalizeKind::Sum || normalize.p == 1)
    return sum;
  return normalize.p == 2 ? math::SqrtOp::create(builder, loc, sum).getResult() : power(sum, 1 / normalize.p);
}

// norm + eps or max(norm, eps)
Value LayerBuilder::divisor(const RouterNormalize &normalize, Value norm) {
  if (normalize.eps == 0)
    return norm;
  return normalize.epsMode == EpsMode::Floor ? atLeast(norm, normalize.eps) : add(norm, number(normalize.eps));
}

// v^p = exp(p · log v) for v >= 0
Value LayerBuilder::power(Value v, double p) {
  Value result = math::ExpOp::create(builder, loc, scaled(math::LogOp::create(builder, loc, v), p));
  Value zero = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v, number(0));
  return select(zero, number(0), result);
}

// Weights whose id is -1 are 0 and stay it.
Value LayerBuilder::normalized(const RouterNormalize &normalize, Value values, Value ids, bool partial) {
  auto type = cast<RankedTensorType>(values.getType());
  if (normalize.kind == NormalizeKind::None)
    return values;
  if (normalize.kind == NormalizeKind::Softmax) {
    if (partial)
      values = maskedBy(values, ids, negInf);
    values = scored(Score::Softmax, values);
  } else {
    Value sum = sumRows(powered(normalize, values));
    values = map({{values, OperandKind::elem}, {sum, OperandKind::row}}, type,
                 [&](ValueRange v) { return divide(v[0], divisor(normalize, rooted(normalize, v[1]))); });
  }
  return partial ? maskedBy(values, ids, 0) : values;
}

// w · scale · expert_scale[id], rounded where the spec says so
Value LayerBuilder::scaledWeights(Value values, Value ids) {
  const RouterSpec &router = spec.router;
  auto type = cast<RankedTensorType>(values.getType());
  bool rounds = router.weightDType == WeightDType::Activation && spec.dtype.activation != DataType::F32;
  SmallVector<Bound> operands = {{values, OperandKind::elem}};
  if (router.expertScale)
    operands.push_back({take(parameter("router.expert_scale"), ids), OperandKind::elem});
  if (operands.size() == 1 && router.scale == 1 && !rounds)
    return values;
  return map(operands, type, [&](ValueRange v) {
    Value weight = scaled(v[0], router.scale);
    if (router.expertScale)
      weight = multiply(weight, v[1]);
    return rounds ? toF32(fromF32(weight, typeOf(spec.dtype.activation))) : weight;
  });
}

Value LayerBuilder::finalWeights(Value values, Value ids, bool partial) {
  return scaledWeights(normalized(spec.router.normalize, values, ids, partial), ids);
}

// random_2p: the second goes out only where 2·w2 > u. threshold: only where w2 > threshold. w2 = w2 normalised.
Value LayerBuilder::keptSeconds(const RouterValues &values) {
  const RouterSelect &chosen = spec.router.select;
  bool random = chosen.second == SecondPolicy::Random2P;
  if (chosen.kind != SelectKind::SecondPolicy || (!random && chosen.second != SecondPolicy::Threshold))
    return values.ids;
  Value pair = normalized(spec.router.normalize, values.weights, values.ids, values.partial);
  SmallVector<Bound> operands = {
      {values.ids, OperandKind::elem}, {pair, OperandKind::elem}, {columns(2), OperandKind::elem}};
  if (random)
    operands.push_back({input("uniform"), OperandKind::row});
  return map(operands, rows(builder.getI32Type(), 2), [&](ValueRange v) {
    Value enough = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, random ? scaled(v[1], 2) : v[1],
                                         random ? v[3] : number(chosen.threshold));
    return select(arith::OrIOp::create(builder, loc, equal(v[2], 0), enough), v[0], integer(-1));
  });
}

// `ids` without those that find no place; keys are values.weights.
Value LayerBuilder::capacity(const RouterValues &values, Value ids) {
  const CapacitySpec &from = *spec.capacity;
  auto type = cast<RankedTensorType>(ids.getType());
  bool major = from.major == CapacityMajor::Token, next = from.overflow == Overflow::NextBest;
  Type f32 = builder.getF32Type();
  Value keys;
  if (from.order == CapacityOrder::Score)
    keys = major ? values.weights : take(values.weights, columns(1));
  if (from.order == CapacityOrder::Random)
    keys = map({{input("priority"), OperandKind::row}}, rows(f32, 1), [&](ValueRange v) { return v[0]; });
  bool given = from.mode == CapacityMode::Dynamic,
       share = from.mode == CapacityMode::Factor || from.mode == CapacityMode::Fraction;
  int64_t times = from.mode == CapacityMode::Factor && from.perChoice ? spec.choices() : 1;
  auto op = moe::CapacityOp::create(
      builder, loc, type, keys ? Type(type) : Type(), ids, keys, next ? values.choice : Value(), present,
      given ? input("capacity") : Value(), uint64_t(spec.experts.count), major,
      given   ? moe::PlacesMode::given
      : share ? moe::PlacesMode::share
              : moe::PlacesMode::fixed,
      APFloat(from.value), uint64_t(times), uint64_t(from.mode == CapacityMode::Factor ? spec.experts.count : 1),
      moe::Rounding(int(from.round)), uint64_t(from.min), uint64_t(from.max.value_or(INT32_MAX)),
      moe::Scope(int(from.scope)), uint64_t(from.groupSize));
  return op.getKept();
}

// Identity experts and choices that overflowed lead x around the experts: the sum of their weights per token.
void LayerBuilder::passAround(RouterValues &values, Value before) {
  bool zero = spec.experts.zero && spec.experts.zero->kind == ZeroKind::Identity;
  bool dropped = before && before != values.kept;
  if (!zero && !dropped)
    return;
  SmallVector<Bound> operands = {{values.weights, OperandKind::elem}, {values.kept, OperandKind::elem}};
  if (dropped)
    operands.push_back({before, OperandKind::elem});
  values.passed = sumRows(map(operands, cast<RankedTensorType>(values.weights.getType()), [&](ValueRange v) {
    Value passes = arith::ConstantOp::create(builder, loc, builder.getBoolAttr(false));
    if (zero)
      passes =
          arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, v[1], integer(int32_t(spec.experts.count)));
    if (dropped) {
      Value overflowed =
          arith::AndIOp::create(builder, loc, isChosen(v[2]),
                                arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, v[1], integer(0)));
      passes = arith::OrIOp::create(builder, loc, passes, overflowed);
    }
    return select(passes, v[0], number(0));
  }));
}

// Σ_j w_j · constant of id_j:   p[t,z] = Σ_j w_j where id_j = E + z,   p · Cᵀ
Value LayerBuilder::constantExperts(const RouterValues &values) {
  if (!spec.experts.zero || spec.experts.zero->kind != ZeroKind::Constant)
    return {};
  int64_t count = spec.experts.zero->count, k = cast<RankedTensorType>(values.kept.getType()).getDimSize(1);
  Type i32 = builder.getI32Type(), f32 = builder.getF32Type();
  Value pairs = columns(count * k); // z·K + j
  Value choice =
      map({{pairs, OperandKind::elem}}, rows(i32, count * k), [&](ValueRange v) { return rest(v[0], int32_t(k)); });
  Value own = map({{take(values.weights, choice), OperandKind::elem},
                   {take(values.kept, choice), OperandKind::elem},
                   {pairs, OperandKind::elem}},
                  rows(f32, count * k), [&](ValueRange v) {
                    Value id = plus(quotient(v[2], int32_t(k)), int32_t(spec.experts.count));
                    Value hit = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, v[1], id);
                    return select(hit, v[0], number(0));
                  });
  Value shares = own;
  if (count > 1 || k > 1)
    shares = moe::ReduceOp::create(builder, loc, rows(f32, count), own, moe::ReduceKind::sum,
                                   builder.getI64IntegerAttr(count));
  return matmul(shares, parameter("experts.zero_constant"), Value());
}

// From gathered weights to final ones, with capacity before or after normalising.
void LayerBuilder::finishWeights(RouterValues &values) {
  bool limited = spec.capacity.has_value();
  bool identity = limited && spec.capacity->dropped == Dropped::Identity;
  bool next = limited && spec.capacity->overflow == Overflow::NextBest;
  Value race = keptSeconds(values); // the choices in the queues
  values.wanted = race;
  Value before = identity && !next ? race : Value();
  if (limited && (next || spec.capacity->normalizeAt == NormalizeAt::After)) {
    values.kept = capacity(values, race);
    values.partial = true;
    if (next) {
      values.ids = values.kept;
      gatherWeights(values); // the score of the expert really used
    }
    Value used = before ? before : values.kept;
    values.weights = finalWeights(maskedBy(values.weights, used, 0), used, true);
    return passAround(values, before);
  }
  values.weights = finalWeights(values.weights, values.ids, values.partial);
  values.kept = limited ? capacity(values, race) : race;
  if (values.kept != values.ids)
    values.weights = maskedBy(values.weights, before ? before : values.kept, 0);
  passAround(values, before);
}

} // namespace moec
