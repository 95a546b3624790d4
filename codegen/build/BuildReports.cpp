// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a call reports beside y, from values that every call makes anyhow: logits, ids, weights, and the experts'
// outputs. Only those that the spec asks for are built.
//
// Tokens that a wrap leads around the experts do not count: means and sums are over the tokens that reach the router.

#include "codegen/build/LayerBuilder.h"

#include "dsl/Reports.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value LayerBuilder::ones(int64_t columns) {
  return map({}, rows(builder.getF32Type(), columns), [&](ValueRange) { return number(1); });
}

Value LayerBuilder::ifPresent(Value values) {
  if (!present)
    return values;
  return map({{values, OperandKind::elem}, {present, OperandKind::segment}}, cast<RankedTensorType>(values.getType()),
             [&](ValueRange v) { return select(equal(v[1], 0), number(0), v[0]); });
}

Value LayerBuilder::asColumn(Value row) {
  return map({{row, OperandKind::row}}, rows(builder.getF32Type(), 1), [&](ValueRange v) { return v[0]; });
}

Value LayerBuilder::presentTokens(moe::Scope scope) {
  Value count = tokenReduce(ifPresent(ones(1)), moe::ReduceKind::sum, scope);
  return map({{count, OperandKind::elem}}, cast<RankedTensorType>(count.getType()),
             [&](ValueRange v) { return atLeast(v[0], 1); });
}

Value LayerBuilder::meanOver(Value values) {
  Value sum = tokenReduce(ifPresent(values), moe::ReduceKind::sum, moe::Scope::batch);
  return map({{sum, OperandKind::elem}, {presentTokens(moe::Scope::batch), OperandKind::segment}},
             cast<RankedTensorType>(sum.getType()), [&](ValueRange v) { return divide(v[0], v[1]); });
}

Value LayerBuilder::meanOfTokens(Value row) { return present ? sumRows(meanOver(asColumn(row))) : row; }

Value LayerBuilder::total(Value values, moe::TotalKind kind) {
  auto type = cast<RankedTensorType>(values.getType());
  return moe::TokenTotalOp::create(builder, loc, RankedTensorType::get({type.getDimSize(1)}, type.getElementType()),
                                   values, kind);
}

// s / sum s; softmax(z) for softmax and for raw logits, which may be negative
Value LayerBuilder::probabilities(Score score, Value logits) {
  if (score == Score::Softmax || score == Score::Identity)
    return scored(Score::Softmax, logits);
  Value s = scored(score, logits);
  return map({{s, OperandKind::elem}, {sumRows(s), OperandKind::row}}, cast<RankedTensorType>(s.getType()),
             [&](ValueRange v) { return divide(v[0], add(v[1], number(1e-20))); });
}

// D = (K·S - U) / ((K-1)·S) with S = sum_j |o_j|², U = |sum_j o_j|² of the K >= 2 experts of a token: the mean over
// such tokens
Value LayerBuilder::diversity(const RouterValues &router) {
  Type f32 = builder.getF32Type();
  int64_t width = cast<RankedTensorType>(routed.front().outputs.getType()).getDimSize(1), experts = spec.experts.count;
  auto squared = [&](Value values) {
    return sumRows(map({{values, OperandKind::elem}}, rows(f32, width), [&](ValueRange v) {
      Value wide = toF32(v[0]);
      return multiply(wide, wide);
    }));
  };
  auto combined = [&](Value values, Value route, Value before) -> Value {
    auto type = rows(f32, cast<RankedTensorType>(values.getType()).getDimSize(1));
    Value sum =
        moe::CombineOp::create(builder, loc, type, values, route, Value(), ValueRange(), builder.getArrayAttr({}));
    return before ? map({{sum, OperandKind::elem}, {before, OperandKind::elem}}, type,
                        [&](ValueRange v) { return add(v[1], v[0]); })
                  : sum;
  };
  Value apart, together;
  for (const RoutedRows &part : routed) {
    apart = combined(asColumn(squared(part.outputs)), part.route, apart);
    together = combined(part.outputs, part.route, together);
  }
  apart = sumRows(apart);
  together = squared(together);
  auto kept = cast<RankedTensorType>(router.kept.getType());
  Value count = sumRows(map({{router.kept, OperandKind::elem}}, rows(f32, kept.getDimSize(1)), [&](ValueRange v) {
    Value expert = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, v[0], integer(int32_t(experts)));
    return select(expert, number(1), number(0));
  }));
  auto several = [&](Value k) -> Value {
    return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, k, number(1.5));
  };
  Value pair = map({{count, OperandKind::row},
                    {apart, OperandKind::row},
                    {together, OperandKind::row},
                    {columns(2), OperandKind::elem}},
                   rows(f32, 2), [&](ValueRange v) {
                     Value some = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[1], number(0));
                     Value spread = arith::SubFOp::create(builder, loc, multiply(v[0], v[1]), v[2]);
                     Value whole = multiply(arith::SubFOp::create(builder, loc, v[0], number(1)), v[1]);
                     Value d = select(some, divide(spread, whole), number(0));
                     return select(several(v[0]), select(equal(v[3], 0), d, number(1)), number(0));
                   });
  Value sums = tokenReduce(pair, moe::ReduceKind::sum, moe::Scope::batch);
  auto column = [&](int32_t n) {
    return sumRows(map({{sums, OperandKind::elem}, {columns(2), OperandKind::elem}}, rows(f32, 2),
                       [&](ValueRange v) { return select(equal(v[1], n), v[0], number(0)); }));
  };
  Value mean = map({{column(0), OperandKind::row}, {column(1), OperandKind::row}}, rows(f32, 1),
                   [&](ValueRange v) { return divide(v[0], atLeast(v[1], 1)); });
  return total(mean, moe::TotalKind::mean);
}

std::vector<std::pair<StringRef, Value>> LayerBuilder::buildReports(const RouterValues &router) {
  Type f32 = builder.getF32Type(), i32 = builder.getI32Type();
  std::vector<std::pair<StringRef, Value>> reports;
  bool wantsMean = hasReport(spec, "logit_mean"), wantsMax = hasReport(spec, "logit_max");
  Value sizes, largest, mean;
  if (wantsMean || wantsMax)
    sizes = map({{router.logits, OperandKind::elem}}, cast<RankedTensorType>(router.logits.getType()),
                [&](ValueRange v) -> Value { return math::AbsFOp::create(builder, loc, v[0]); });
  if (wantsMax)
    largest = moe::ReduceOp::create(builder, loc, rowVector(f32), sizes, moe::ReduceKind::max, IntegerAttr());
  if (wantsMean)
    mean = map({{sumRows(sizes), OperandKind::elem}}, rowVector(f32), [&](ValueRange v) {
      return divide(v[0], number(double(cast<RankedTensorType>(sizes.getType()).getDimSize(1))));
    });
  if (hasReport(spec, "probabilities"))
    reports.push_back({"probabilities", probabilities(spec.router.score, router.logits)});
  if (wantsMean)
    reports.push_back({"logit_mean", total(asColumn(meanOfTokens(mean)), moe::TotalKind::mean)});
  if (wantsMax)
    reports.push_back({"logit_max", total(ifPresent(asColumn(largest)), moe::TotalKind::max)});
  if (hasReport(spec, "choice_counts")) {
    Value chosen = moe::PutOp::create(builder, loc, rows(f32, spec.routerRows()), ones(spec.choices()), router.wanted);
    Value whole = map({{chosen, OperandKind::elem}}, rows(i32, spec.routerRows()),
                      [&](ValueRange v) -> Value { return arith::FPToSIOp::create(builder, loc, i32, v[0]); });
    reports.push_back({"choice_counts", total(whole, moe::TotalKind::sum)});
  }
  if (hasReport(spec, "dropped_tokens")) {
    auto counted = [&](Value ids) {
      return sumRows(map({{ids, OperandKind::elem}}, rows(f32, cast<RankedTensorType>(ids.getType()).getDimSize(1)),
                         [&](ValueRange v) { return select(isChosen(v[0]), number(1), number(0)); }));
    };
    Value lost = map({{counted(router.wanted), OperandKind::row}, {counted(router.kept), OperandKind::row}},
                     rows(i32, 1), [&](ValueRange v) {
                       Value wanted = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[0], number(0));
                       Value kept = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[1], number(0));
                       return select(kept, integer(0), select(wanted, integer(1), integer(0)));
                     });
    reports.push_back({"dropped_tokens", total(lost, moe::TotalKind::sum)});
  }
  if (hasReport(spec, "diversity"))
    reports.push_back({"diversity", diversity(router)});
  if (!spec.losses.empty())
    reports.push_back({"losses", buildLosses(router)});
  return reports;
}

} // namespace moec
