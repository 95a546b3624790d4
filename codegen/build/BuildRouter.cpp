// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// logits -> scores -> choice -> weights -> capacity; BuildMixing has the kinds that go another way.

#include "codegen/build/BuildRouter.h"

#include "codegen/build/BuildLevels.h"
#include "codegen/build/BuildMixing.h"
#include "codegen/build/BuildWeights.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// Tokens that a wrap leads around the experts choose none.
static void dropAbsent(RowOps &ops, Value present, Choices &choices) {
  choices.partial = true;
  choices.ids =
      ops.map({{choices.ids, OperandKind::elem}, {present, OperandKind::segment}}, RowOps::typeOf(choices.ids),
              [&](ValueRange v) { return ops.select(ops.equal(v[1], 0), ops.integer(-1), v[0]); });
  choices.weights = ops.maskedBy(choices.weights, choices.ids, 0);
}

// Nor do shared experts have a part in them: a weight that is NaN stays out of gradients.
static Value withoutAbsent(RowOps &ops, Value present, Value shared) {
  return ops.map({{shared, OperandKind::elem}, {present, OperandKind::segment}}, RowOps::typeOf(shared),
                 [&](ValueRange v) { return ops.select(ops.equal(v[1], 0), ops.number(0), v[0]); });
}

RouterValues buildRouter(RowOps &ops, const LayerSpec &spec, const LayerValues &layer) {
  RouterKind kind = spec.router.kind;
  if (kind == RouterKind::Soft)
    return MixingBuilder(ops, spec, layer).soft();
  if (kind == RouterKind::ExpertChoice)
    return MixingBuilder(ops, spec, layer).expertChoice();
  Value logits;
  RouterScores scores;
  Choices choices;
  if (kind == RouterKind::Hierarchical) {
    choices = LevelsBuilder(ops, spec, layer).choose();
  } else {
    LogitsBuilder router(ops, spec, layer);
    if (spec.hasRouterWeight())
      logits = router.routerLogits();
    if (logits && kind != RouterKind::ProductKey)
      scores = router.scores(logits);
    if (int64_t shared = spec.sharedRows())
      logits = ops.part(logits, 0, RowOps::columnsOf(logits) - shared);
    choices = ChoiceBuilder(ops, spec, layer).choose(logits, scores);
  }
  WeightsBuilder weights(ops, spec, layer, scores);
  if (!choices.weights)
    weights.gather(choices);
  if (layer.present)
    dropAbsent(ops, layer.present, choices);
  RouterValues out = weights.finished(choices);
  out.logits = logits;
  if (layer.present && out.shared)
    out.shared = withoutAbsent(ops, layer.present, out.shared);
  return out;
}

} // namespace moec
