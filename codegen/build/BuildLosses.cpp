// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildLosses.h"

#include "codegen/build/BuildLogits.h"
#include "codegen/build/Scores.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value LossesBuilder::build() {
  int64_t count = int64_t(spec.losses.size());
  SmallVector<Bound> operands = {{columns(count), OperandKind::elem}};
  for (const LossSpec &loss : spec.losses)
    operands.push_back({one(loss), OperandKind::row});
  Value all = map(operands, rows(f32(), count), [&](ValueRange v) {
    Value value = v[1];
    for (int64_t i = 1; i < count; ++i)
      value = select(equal(v[0], int32_t(i)), v[size_t(i) + 1], value);
    return value;
  });
  return total(all, moe::TotalKind::mean);
}

Value LossesBuilder::one(const LossSpec &loss) {
  if (loss.kind == "load_balance")
    return loadBalance(loss);
  if (loss.kind == "z")
    return z();
  if (loss.kind == "cv2")
    return squaredVariation(loss);
  if (loss.kind == "count_variance")
    return countVariance();
  if (loss.kind == "entropy")
    return entropy(loss);
  if (loss.kind == "uniform_mse")
    return uniformError(loss);
  return importanceTimesLoad(loss);
}

// ---- what losses are made of ------------------------------------------------------------------------------------

Value LossesBuilder::probabilitiesOf(const LossSpec &loss) {
  if (!spec.hasExpertLogits())
    return {};
  Score score = loss.is("probs", "normalized_score") ? spec.router.score : Score::Softmax;
  return probabilities(*this, score, "router.score", router.logits);
}

// n_e = sum over tokens t of the scope of #{j: ids[t,j] = e}
Value LossesBuilder::choiceCounts(Value ids, moe::Scope scope) {
  return tokenReduce(put(ones(columnsOf(ids)), ids, spec.routerRows()), moe::ReduceKind::sum, scope);
}

// load_e = sum_t Phi((z_te - theta_te) / sigma_te), theta the K-th largest of h_t without e
Value LossesBuilder::load() {
  LogitsBuilder logits(*this, spec, layer);
  const RouterNoise &noise = spec.router.noise;
  int64_t k = spec.choices();
  int64_t experts = columnsOf(router.logits);
  int64_t most = std::min(k + 1, experts);
  Value h = logits.withNoise(router.logits).weights;
  Value order = topK(h, most);
  Value values = take(h, order);
  Value chosen = moe::MemberOp::create(builder, loc, rows(builder.getI1Type(), experts), take(order, columns(k)));
  SmallVector<Bound> operands = {
      {router.logits, OperandKind::elem}, {chosen, OperandKind::elem}, {columnOf(values, k - 1), OperandKind::row}};
  bool learned = noise.kind == NoiseKind::Learned;
  bool more = experts > k;
  if (more)
    operands.push_back({columnOf(values, k), OperandKind::row});
  if (learned)
    operands.push_back({logits.noiseDeviation(), OperandKind::elem});
  Value chance = map(operands, typeOf(router.logits), [&](ValueRange v) {
    Value next = more ? v[3] : number(-1e18); // low enough for any sigma, and finite, as gradients want it
    Value theta = select(v[1], next, v[2]);
    Value sigma = learned ? add(v.back(), number(noise.eps)) : number(noise.std);
    Value gap = divide(subtract(v[0], theta), multiply(atLeast(sigma, 1e-20), number(std::sqrt(2.0))));
    Value bounded = atMost(atLeast(gap, -8), 8); // erf is 1 to the last bit there
    return scaled(add(math::ErfOp::create(builder, loc, bounded), number(1)), 0.5);
  });
  return sumOver(chance);
}

// sum_e (v_e - mean)² over the number of columns, or over one less for a sample
Value LossesBuilder::varianceOf(Value perExpert, bool sample) {
  double n = double(columnsOf(perExpert));
  double divisor = sample ? std::max(1.0, n - 1) : n;
  Value squares = map({{perExpert, OperandKind::elem}, {sumRows(perExpert), OperandKind::row}}, typeOf(perExpert),
                      [&](ValueRange v) {
                        Value gap = subtract(v[0], divide(v[1], number(n)));
                        return multiply(gap, gap);
                      });
  return map({{sumRows(squares), OperandKind::elem}}, rowVector(f32()),
             [&](ValueRange v) { return divide(v[0], number(divisor)); });
}

// ---- kinds of losses --------------------------------------------------------------------------------------------

// G · sum_g F_g · P_g, F and P summed over the columns of a group; f_e = n_e / n or n_e / (K n), P_e = mean p_e
Value LossesBuilder::loadBalance(const LossSpec &loss) {
  Value p = probabilitiesOf(loss);
  moe::Scope scope = loss.is("scope", "sequence") ? moe::Scope::sequence : moe::Scope::batch;
  bool first = loss.is("count", "first");
  Value ids = router.wanted;
  if (loss.flag("dropped_as_expert0"))
    ids = map({{ids, OperandKind::elem}, {router.kept, OperandKind::elem}}, typeOf(ids), [&](ValueRange v) {
      return select(isChosen(v[0]), select(isChosen(v[1]), v[1], integer(0)), integer(-1));
    });
  if (first)
    ids = take(ids, columns(1));
  Value counts = choiceCounts(ids, scope);
  Value sums = sumOver(p, scope);
  int64_t groups = loss.integer("groups", 1);
  if (groups <= 1)
    groups = spec.routerRows(); // one expert each
  if (groups > 1) {
    counts = reducedRuns(counts, moe::ReduceKind::sum, groups);
    sums = reducedRuns(sums, moe::ReduceKind::sum, groups);
  }
  double perToken = loss.flag("per_choice") && !first ? double(spec.choices()) : 1;
  return sumRows(
      map({{counts, OperandKind::elem}, {sums, OperandKind::elem}, {presentTokens(scope), OperandKind::segment}},
          typeOf(counts), [&](ValueRange v) {
            Value f = divide(v[0], scaled(v[2], perToken));
            Value mean = divide(v[1], v[2]);
            return scaled(multiply(f, mean), double(groups));
          }));
}

// (log sum_e exp z_e)²
Value LossesBuilder::z() {
  Value high = reduced(router.logits, moe::ReduceKind::max);
  Value powers = map({{router.logits, OperandKind::elem}, {high, OperandKind::row}}, typeOf(router.logits),
                     [&](ValueRange v) -> Value { return math::ExpOp::create(builder, loc, subtract(v[0], v[1])); });
  Value squared =
      map({{high, OperandKind::elem}, {sumRows(powers), OperandKind::elem}}, rowVector(f32()), [&](ValueRange v) {
        Value whole = add(v[0], math::LogOp::create(builder, loc, v[1]));
        return multiply(whole, whole);
      });
  return meanOfTokens(squared);
}

// The number of tokens that chose an expert, its chance to be chosen, or the sum of its weights.
Value LossesBuilder::perExpert(const LossSpec &loss) {
  if (loss.is("of", "load"))
    return load();
  if (loss.is("of", "counts"))
    return choiceCounts(router.wanted, moe::Scope::batch);
  Value weights = put(router.weights, router.ids, spec.routerRows());
  return tokenReduce(weights, moe::ReduceKind::sum, moe::Scope::batch);
}

// Var(v) / (mean(v)² + eps), 0 where all are the same
Value LossesBuilder::squaredVariation(const LossSpec &loss) {
  Value values = perExpert(loss);
  double n = double(columnsOf(values));
  double eps = loss.number("eps", 1e-10);
  return map(
      {{varianceOf(values, loss.is("variance", "sample")), OperandKind::elem}, {sumRows(values), OperandKind::elem}},
      rowVector(f32()), [&](ValueRange v) {
        Value mean = divide(v[1], number(n));
        Value none = isZero(v[0]);
        return select(none, number(0), divide(v[0], add(multiply(mean, mean), number(eps))));
      });
}

Value LossesBuilder::countVariance() {
  return varianceOf(choiceCounts(router.wanted, moe::Scope::batch), /*sample=*/false);
}

// sum_e p log(p + eps), of every token or of the mean of p
Value LossesBuilder::entropy(const LossSpec &loss) {
  Value p = probabilitiesOf(loss);
  double eps = loss.number("eps", 1e-10);
  bool marginal = loss.is("of", "marginal");
  if (marginal)
    p = meanOver(p);
  Value sum = sumRows(map({{p, OperandKind::elem}}, typeOf(p), [&](ValueRange v) {
    Value none = isZero(v[0]); // 0 log 0, and eps below f32
    Value inside = select(none, number(1), add(v[0], number(eps)));
    return select(none, number(0), multiply(v[0], math::LogOp::create(builder, loc, inside)));
  }));
  return marginal ? sum : meanOfTokens(sum);
}

// sum_e or mean_e (P_e - 1/N)²; over selected: the K columns of weights
Value LossesBuilder::uniformError(const LossSpec &loss) {
  Value p = probabilitiesOf(loss);
  Value mean = meanOver(loss.is("over", "selected") ? router.weights : p);
  double n = double(columnsOf(mean));
  Value sum = sumRows(map({{mean, OperandKind::elem}}, typeOf(mean), [&](ValueRange v) {
    Value gap = subtract(v[0], number(1 / n));
    return multiply(gap, gap);
  }));
  if (!loss.is("reduce", "mean"))
    return sum;
  return map({{sum, OperandKind::elem}}, rowVector(f32()), [&](ValueRange v) { return divide(v[0], number(n)); });
}

// sum_e (sum_t p_te) · #{t: z_te > 0}
Value LossesBuilder::importanceTimesLoad(const LossSpec &loss) {
  Value p = probabilitiesOf(loss);
  Value above = map({{router.logits, OperandKind::elem}}, typeOf(router.logits),
                    [&](ValueRange v) { return select(isGreater(v[0], number(0)), number(1), number(0)); });
  return sumRows(map({{sumOver(p), OperandKind::elem}, {sumOver(above), OperandKind::elem}}, typeOf(above),
                     [&](ValueRange v) { return multiply(v[0], v[1]); }));
}

} // namespace moec
