// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildLevels.h"

#include "codegen/build/Normalizer.h"
#include "codegen/build/Scores.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// One level over rows of `runs` runs: ids within the whole row and normalised, scaled weights, k per run.
Choices LevelsBuilder::chooseLevel(const RouterSpec &level, Value z, int64_t runs) {
  auto score = [&](Value values) { return scored(*this, level.score, "router.levels", values, runs); };
  bool all = level.scoreOver == ScoreOver::All;
  Value scores = all ? score(z) : z;
  Choices out;
  out.ids = topK(scores, level.select.k, runs);
  out.weights = take(scores, out.ids);
  if (!all)
    out.weights = score(out.weights);
  const RouterNormalize &normalize = level.normalize;
  if (normalize.kind == NormalizeKind::Softmax)
    out.weights = softmax(out.weights, runs);
  if (normalize.kind == NormalizeKind::Sum || normalize.kind == NormalizeKind::Lp) {
    Normalizer normalizer(*this, normalize);
    Value sums = reducedRuns(normalizer.summands(out.weights), moe::ReduceKind::sum, runs);
    out.weights = map({{out.weights, OperandKind::elem}, {sums, OperandKind::segment}}, typeOf(out.weights),
                      [&](ValueRange v) { return normalizer.divided(v[0], v[1]); });
  }
  return out;
}

// a = level 0 over G groups, k1 chosen; b = level 1 over the n experts of every group, k2 chosen in each; of those the
// chosen groups' are taken:   id = g·n + e,  w = a_g · b_{g,e}
Choices LevelsBuilder::choose() {
  const RouterSpec &first = spec.router.levels[0];
  const RouterSpec &second = spec.router.levels[1];
  int64_t groups = first.count;
  int64_t total = spec.choices();
  bool given = first.kind == RouterKind::Table;
  Choices inner = chooseLevel(second, router.logits(second, "router.level1.weight"), groups);
  Choices outer;
  if (given)
    outer.ids = map({{layer.input("group_ids"), OperandKind::row}}, rows(i32(), 1), [&](ValueRange v) { return v[0]; });
  else
    outer = chooseLevel(first, router.logits(first, "router.level0.weight"), 1);
  // position of choice (j, i) among the groups' choices; of a group that does not exist: none
  Value at = map({{outer.ids, OperandKind::segment}, {columns(total), OperandKind::elem}}, rows(i32(), total),
                 [&](ValueRange v) {
                   int32_t perGroup = int32_t(second.select.k);
                   Value own = remainder(v[1], perGroup);
                   Value place = arith::AddIOp::create(builder, loc, times(v[0], perGroup), own);
                   return select(isIndex(v[0], groups), place, integer(-1));
                 });
  Choices out;
  out.partial = given;
  out.ids = map({{take(inner.ids, at), OperandKind::elem}, {at, OperandKind::elem}}, rows(i32(), total),
                [&](ValueRange v) { return select(isChosen(v[1]), v[0], integer(-1)); });
  out.weights = take(inner.weights, at);
  if (outer.weights)
    out.weights = map({{out.weights, OperandKind::elem}, {outer.weights, OperandKind::segment}}, rows(f32(), total),
                      [&](ValueRange v) { return multiply(v[0], v[1]); });
  return out;
}

} // namespace moec
