// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// losses of a spec, and the router's values -> their values, without coefficients. The formulas are those of
// dsl/README.md.

#ifndef MOEC_CODEGEN_BUILD_BUILDLOSSES_H
#define MOEC_CODEGEN_BUILD_BUILDLOSSES_H

#include "codegen/build/CallTotals.h"
#include "codegen/build/LayerValues.h"
#include "dsl/LayerSpec.h"

namespace moec {

// Each loss is first computed as one number per token, [T]; the loss is the mean of these numbers over the tokens of
// the call. A sum over a scope is the number of every token of that scope. All sequences of a call have one length, so
// the mean over tokens is also the mean over sequences.
class LossesBuilder : CallTotals {
public:
  // All must outlive the object.
  LossesBuilder(const CallTotals &totals, const LayerSpec &spec, const LayerValues &layer, const RouterValues &router)
      : CallTotals(totals), spec(spec), layer(layer), router(router) {}

  mlir::Value build(); // [number of losses] f32

private:
  const LayerSpec &spec;
  const LayerValues &layer;
  const RouterValues &router;

  mlir::Value one(const LossSpec &loss);
  mlir::Value loadBalance(const LossSpec &loss);
  mlir::Value z();
  mlir::Value squaredVariation(const LossSpec &loss);
  mlir::Value countVariance();
  mlir::Value entropy(const LossSpec &loss);
  mlir::Value uniformError(const LossSpec &loss);
  mlir::Value importanceTimesLoad(const LossSpec &loss);

  // [T,E]: what the losses are made of.
  mlir::Value probabilitiesOf(const LossSpec &loss); // null without logits of experts
  mlir::Value choiceCounts(mlir::Value ids, moe::Scope scope);
  mlir::Value load();
  mlir::Value perExpert(const LossSpec &loss); // what cv2 is about

  mlir::Value varianceOf(mlir::Value perExpert, bool sample); // [T]
};

} // namespace moec

#endif
