// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// losses of a spec -> their values, without coefficients. The formulas are those of dsl/README.md.
//
// Each loss is first computed as one number per token; the loss is the mean of these numbers over the tokens of the
// call. A sum over a scope is the number of every token of that scope. All sequences of a call have one length, so the
// mean over tokens is also the mean over sequences.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

static int64_t columnsOf(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }

// n_e = sum over tokens t of the scope of #{j: ids[t,j] = e}
Value LayerBuilder::choiceCounts(Value ids, moe::Scope scope) {
  Value chosen =
      moe::PutOp::create(builder, loc, rows(builder.getF32Type(), spec.routerRows()), ones(columnsOf(ids)), ids);
  return tokenReduce(chosen, moe::ReduceKind::sum, scope);
}

// G · sum_g F_g · P_g, F and P summed over the columns of a group; f_e = n_e / n or n_e / (K n), P_e = mean p_e
Value LayerBuilder::loadBalance(const LossSpec &loss, const RouterValues &router, Value p) {
  Type f32 = builder.getF32Type();
  moe::Scope scope = loss.is("scope", "sequence") ? moe::Scope::sequence : moe::Scope::batch;
  Value ids = router.wanted;
  if (loss.flag("dropped_as_expert0"))
    ids = map(
        {{ids, OperandKind::elem}, {router.kept, OperandKind::elem}}, cast<RankedTensorType>(ids.getType()),
        [&](ValueRange v) { return select(isChosen(v[0]), select(isChosen(v[1]), v[1], integer(0)), integer(-1)); });
  if (loss.is("count", "first"))
    ids = take(ids, columns(1));
  Value counts = choiceCounts(ids, scope), sums = tokenReduce(ifPresent(p), moe::ReduceKind::sum, scope);
  int64_t groups = loss.integer("groups", 1);
  auto grouped = [&](Value values) -> Value {
    if (groups <= 1)
      return values;
    return moe::ReduceOp::create(builder, loc, rows(f32, groups), values, moe::ReduceKind::sum,
                                 builder.getI64IntegerAttr(groups));
  };
  if (groups <= 1)
    groups = spec.routerRows();
  double perToken = loss.flag("per_choice") && !loss.is("count", "first") ? double(spec.choices()) : 1;
  return sumRows(map({{counts = grouped(counts), OperandKind::elem},
                      {grouped(sums), OperandKind::elem},
                      {presentTokens(scope), OperandKind::segment}},
                     cast<RankedTensorType>(counts.getType()), [&](ValueRange v) {
                       Value f = divide(v[0], scaled(v[2], perToken)), mean = divide(v[1], v[2]);
                       return scaled(multiply(f, mean), double(groups));
                     }));
}

// (log sum_e exp z_e)²
Value LayerBuilder::zLoss(Value logits) {
  Type f32 = builder.getF32Type();
  Value high = moe::ReduceOp::create(builder, loc, rowVector(f32), logits, moe::ReduceKind::max, IntegerAttr());
  Value sum = sumRows(map({{logits, OperandKind::elem}, {high, OperandKind::row}},
                          cast<RankedTensorType>(logits.getType()), [&](ValueRange v) -> Value {
                            return math::ExpOp::create(builder, loc, arith::SubFOp::create(builder, loc, v[0], v[1]));
                          }));
  Value squared = map({{high, OperandKind::elem}, {sum, OperandKind::elem}}, rowVector(f32), [&](ValueRange v) {
    Value whole = add(v[0], math::LogOp::create(builder, loc, v[1]));
    return multiply(whole, whole);
  });
  return meanOfTokens(squared);
}

// sum_e (v_e - mean)² over the number of columns, or over one less for a sample
Value LayerBuilder::varianceOf(Value perExpert, bool sample) {
  auto type = cast<RankedTensorType>(perExpert.getType());
  double n = double(type.getDimSize(1)), divisor = sample ? std::max(1.0, n - 1) : n;
  Value squares =
      map({{perExpert, OperandKind::elem}, {sumRows(perExpert), OperandKind::row}}, type, [&](ValueRange v) {
        Value gap = arith::SubFOp::create(builder, loc, v[0], divide(v[1], number(n)));
        return multiply(gap, gap);
      });
  return map({{sumRows(squares), OperandKind::elem}}, rowVector(builder.getF32Type()),
             [&](ValueRange v) { return divide(v[0], number(divisor)); });
}

// Var(v) / (mean(v)² + eps), 0 where all are the same
Value LayerBuilder::squaredVariation(const LossSpec &loss, Value perExpert) {
  double n = double(columnsOf(perExpert)), eps = loss.number("eps", 1e-10);
  return map({{varianceOf(perExpert, loss.is("variance", "sample")), OperandKind::elem},
              {sumRows(perExpert), OperandKind::elem}},
             rowVector(builder.getF32Type()), [&](ValueRange v) {
               Value mean = divide(v[1], number(n));
               Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(0));
               return select(none, number(0), divide(v[0], add(multiply(mean, mean), number(eps))));
             });
}

// load_e = sum_t Phi((z_te - theta_te) / sigma_te), theta the K-th largest of h_t without e
Value LayerBuilder::load(const RouterValues &router) {
  Type f32 = builder.getF32Type();
  const RouterNoise &noise = spec.router.noise;
  auto type = cast<RankedTensorType>(router.logits.getType());
  int64_t k = spec.choices(), experts = type.getDimSize(1), most = std::min(k + 1, experts);
  Value h = withNoise(router.logits).weights, order = topK(h, most), values = take(h, order);
  auto nth = [&](int64_t n) {
    return sumRows(map({{values, OperandKind::elem}, {columns(most), OperandKind::elem}}, rows(f32, most),
                       [&](ValueRange v) { return select(equal(v[1], int32_t(n)), v[0], number(0)); }));
  };
  Value chosen = moe::MemberOp::create(builder, loc, rows(builder.getI1Type(), experts), take(order, columns(k)));
  SmallVector<Bound> operands = {
      {router.logits, OperandKind::elem}, {chosen, OperandKind::elem}, {nth(k - 1), OperandKind::row}};
  bool learned = noise.kind == NoiseKind::Learned, more = experts > k;
  if (more)
    operands.push_back({nth(k), OperandKind::row});
  if (learned)
    operands.push_back({noiseDeviation(), OperandKind::elem});
  Value chance = map(operands, type, [&](ValueRange v) {
    Value next = more ? v[3] : number(-std::numeric_limits<double>::infinity());
    Value theta = select(v[1], next, v[2]);
    Value sigma = learned ? add(v[more ? 4 : 3], number(noise.eps)) : number(noise.std);
    Value gap = divide(arith::SubFOp::create(builder, loc, v[0], theta),
                       multiply(atLeast(sigma, 1e-20), number(std::sqrt(2.0))));
    Value bounded = atMost(atLeast(gap, -8), 8); // erf is 1 to the last bit there
    return scaled(add(math::ErfOp::create(builder, loc, bounded), number(1)), 0.5);
  });
  return tokenReduce(ifPresent(chance), moe::ReduceKind::sum, moe::Scope::batch);
}

// sum_e p log(p + eps), of every token or of the mean of p
Value LayerBuilder::entropy(const LossSpec &loss, Value p) {
  double eps = loss.number("eps", 1e-10);
  bool marginal = loss.is("of", "marginal");
  Value of = marginal ? meanOver(p) : p;
  Value sum = sumRows(map({{of, OperandKind::elem}}, cast<RankedTensorType>(of.getType()), [&](ValueRange v) {
    // 0 log 0, and eps below f32
    Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], number(0));
    return select(none, number(0), multiply(v[0], math::LogOp::create(builder, loc, add(v[0], number(eps)))));
  }));
  return marginal ? sum : meanOfTokens(sum);
}

// sum_e or mean_e (P_e - 1/N)²; over selected: the K columns of weights
Value LayerBuilder::uniformError(const LossSpec &loss, const RouterValues &router, Value p) {
  Value mean = meanOver(loss.is("over", "selected") ? router.weights : p);
  double n = double(columnsOf(mean));
  Value sum = sumRows(map({{mean, OperandKind::elem}}, cast<RankedTensorType>(mean.getType()), [&](ValueRange v) {
    Value gap = arith::SubFOp::create(builder, loc, v[0], number(1 / n));
    return multiply(gap, gap);
  }));
  return loss.is("reduce", "mean") ? map({{sum, OperandKind::elem}}, rowVector(builder.getF32Type()),
                                         [&](ValueRange v) { return divide(v[0], number(n)); })
                                   : sum;
}

Value LayerBuilder::loss(const LossSpec &loss, const RouterValues &router) {
  if (loss.kind == "z")
    return zLoss(router.logits);
  if (loss.kind == "count_variance")
    return varianceOf(choiceCounts(router.wanted, moe::Scope::batch), false);
  if (loss.kind == "cv2") {
    if (loss.is("of", "load"))
      return squaredVariation(loss, load(router));
    if (loss.is("of", "counts"))
      return squaredVariation(loss, choiceCounts(router.wanted, moe::Scope::batch));
    Value sparse =
        moe::PutOp::create(builder, loc, rows(builder.getF32Type(), spec.routerRows()), router.weights, router.ids);
    return squaredVariation(loss, tokenReduce(sparse, moe::ReduceKind::sum, moe::Scope::batch));
  }
  Value p;
  if (spec.hasExpertLogits())
    p = probabilities(loss.is("probs", "normalized_score") ? spec.router.score : Score::Softmax, router.logits);
  if (loss.kind == "load_balance")
    return loadBalance(loss, router, p);
  if (loss.kind == "entropy")
    return entropy(loss, p);
  if (loss.kind == "uniform_mse")
    return uniformError(loss, router, p);
  // importance_x_load: sum_e (sum_t p_te) · #{t: z_te > 0}
  auto type = cast<RankedTensorType>(router.logits.getType());
  Value above = map({{router.logits, OperandKind::elem}}, type, [&](ValueRange v) {
    Value positive = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[0], number(0));
    return select(positive, number(1), number(0));
  });
  return sumRows(map({{tokenReduce(ifPresent(p), moe::ReduceKind::sum, moe::Scope::batch), OperandKind::elem},
                      {tokenReduce(ifPresent(above), moe::ReduceKind::sum, moe::Scope::batch), OperandKind::elem}},
                     type, [&](ValueRange v) { return multiply(v[0], v[1]); }));
}

Value LayerBuilder::buildLosses(const RouterValues &router) {
  int64_t count = int64_t(spec.losses.size());
  SmallVector<Bound> operands = {{columns(count), OperandKind::elem}};
  for (const LossSpec &one : spec.losses)
    operands.push_back({loss(one, router), OperandKind::row});
  Value all = map(operands, rows(builder.getF32Type(), count), [&](ValueRange v) {
    Value value = v[1];
    for (int64_t i = 1; i < count; ++i)
      value = select(equal(v[0], int32_t(i)), v[size_t(i) + 1], value);
    return value;
  });
  return total(all, moe::TotalKind::mean);
}

} // namespace moec
