// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildReports.h"

#include "codegen/build/BuildLosses.h"
#include "codegen/build/Scores.h"

#include "dsl/Reports.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// D = (K·S - U) / ((K-1)·S) with S = sum_j |o_j|², U = |sum_j o_j|² of the K >= 2 experts of a token: the mean over
// such tokens
Value ReportsBuilder::diversity(const RouterValues &router, ArrayRef<RoutedRows> routed) {
  auto squared = [&](Value values) {
    return sumRows(map({{values, OperandKind::elem}}, rows(f32(), columnsOf(values)), [&](ValueRange v) {
      Value wide = toF32(v[0]);
      return multiply(wide, wide);
    }));
  };
  auto addRows = [&](Value sum, Value values, Value route) {
    Value own = combine(values, route, Value());
    if (!sum)
      return own;
    return map({{own, OperandKind::elem}, {sum, OperandKind::elem}}, typeOf(own),
               [&](ValueRange v) { return add(v[1], v[0]); });
  };
  Value apart, together;
  for (const RoutedRows &part : routed) {
    apart = addRows(apart, asColumn(squared(part.outputs)), part.route);
    together = addRows(together, part.outputs, part.route);
  }
  apart = sumRows(apart);
  together = squared(together);
  Value count = sumRows(map({{router.kept, OperandKind::elem}}, rows(f32(), columnsOf(router.kept)), [&](ValueRange v) {
    return select(isIndex(v[0], spec.experts.count), number(1), number(0));
  }));
  Value pair = map({{count, OperandKind::row},
                    {apart, OperandKind::row},
                    {together, OperandKind::row},
                    {columns(2), OperandKind::elem}},
                   rows(f32(), 2), [&](ValueRange v) {
                     Value some = isGreater(v[1], number(0));
                     Value spread = subtract(multiply(v[0], v[1]), v[2]);
                     Value whole = multiply(subtract(v[0], number(1)), v[1]);
                     Value d = select(some, divide(spread, whole), number(0));
                     Value several = isGreater(v[0], number(1.5));
                     return select(several, select(equal(v[3], 0), d, number(1)), number(0));
                   });
  Value sums = tokenReduce(pair, moe::ReduceKind::sum, moe::Scope::batch);
  Value mean = map({{columnOf(sums, 0), OperandKind::row}, {columnOf(sums, 1), OperandKind::row}}, rows(f32(), 1),
                   [&](ValueRange v) { return divide(v[0], atLeast(v[1], 1)); });
  return total(mean, moe::TotalKind::mean);
}

std::vector<std::pair<StringRef, Value>> ReportsBuilder::buildReports(const RouterValues &router,
                                                                      ArrayRef<RoutedRows> routed) {
  std::vector<std::pair<StringRef, Value>> reports;
  bool wantsMean = hasReport(spec, "logit_mean"), wantsMax = hasReport(spec, "logit_max");
  Value sizes, largest, mean;
  if (wantsMean || wantsMax)
    sizes = map({{router.logits, OperandKind::elem}}, typeOf(router.logits),
                [&](ValueRange v) -> Value { return math::AbsFOp::create(builder, loc, v[0]); });
  if (wantsMax)
    largest = reduced(sizes, moe::ReduceKind::max);
  if (wantsMean)
    mean = map({{sumRows(sizes), OperandKind::elem}}, rowVector(f32()),
               [&](ValueRange v) { return divide(v[0], number(double(columnsOf(sizes)))); });
  if (hasReport(spec, "probabilities"))
    reports.push_back({"probabilities", probabilities(*this, spec.router.score, "router.score", router.logits)});
  if (wantsMean)
    reports.push_back({"logit_mean", total(asColumn(meanOfTokens(mean)), moe::TotalKind::mean)});
  if (wantsMax)
    reports.push_back({"logit_max", total(ifPresent(asColumn(largest)), moe::TotalKind::max)});
  if (hasReport(spec, "choice_counts")) {
    Value chosen = put(ones(spec.choices()), router.wanted, spec.routerRows());
    Value whole = map({{chosen, OperandKind::elem}}, rows(i32(), spec.routerRows()),
                      [&](ValueRange v) -> Value { return arith::FPToSIOp::create(builder, loc, i32(), v[0]); });
    reports.push_back({"choice_counts", total(whole, moe::TotalKind::sum)});
  }
  if (hasReport(spec, "dropped_tokens")) {
    Value lost = map({{countChosen(router.wanted), OperandKind::row}, {countChosen(router.kept), OperandKind::row}},
                     rows(i32(), 1), [&](ValueRange v) {
                       Value wanted = isGreater(v[0], number(0));
                       Value kept = isGreater(v[1], number(0));
                       return select(kept, integer(0), select(wanted, integer(1), integer(0)));
                     });
    reports.push_back({"dropped_tokens", total(lost, moe::TotalKind::sum)});
  }
  if (hasReport(spec, "diversity"))
    reports.push_back({"diversity", diversity(router, routed)});
  if (!spec.losses.empty())
    reports.push_back({"losses", LossesBuilder(*this, spec, layer, router).build()});
  return reports;
}

} // namespace moec
