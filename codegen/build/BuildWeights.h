// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chosen ids and scores -> final weights, and the choices that reach their experts: gather, normalise, scale, capacity.

#ifndef MOEC_CODEGEN_BUILD_BUILDWEIGHTS_H
#define MOEC_CODEGEN_BUILD_BUILDWEIGHTS_H

#include "codegen/build/BuildChoice.h"

namespace moec {

class WeightsBuilder : RowOps {
public:
  // `spec` and `layer` must outlive the object. `scores` may be null.
  WeightsBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer, RouterScores scores)
      : RowOps(ops), spec(spec), layer(layer), scores(scores) {}

  // Sets the weights of the chosen, and those of shared experts that the router weighs; not yet normalised.
  void gather(Choices &choices);

  // [T,K] f32: w · scale · global_scale · expert_scale[id], rounded where the spec says so; null ids: no expert_scale.
  mlir::Value scaledWeights(mlir::Value weights, mlir::Value ids);

  // `choices` has gathered weights. Sets ids, weights, shared, wanted, kept, passed and added.
  RouterValues finished(Choices choices);

private:
  const LayerSpec &spec;
  const LayerValues &layer;
  RouterScores scores;

  mlir::Value equalWeights(const Choices &choices);
  mlir::Value fixedWeights(const Choices &choices);   // equal ones, which may learn as scores do
  mlir::Value gatheredScores(const Choices &choices); // s[id_j], or the chosen logits
  mlir::Value gathered(const Choices &choices);
  mlir::Value scoredSelection(mlir::Value logits, mlir::Value ids); // `ids` null: all are chosen
  mlir::Value withShared(mlir::Value ids);                          // [T,K+S] i32, for columns of shared experts too
  mlir::Value normalized(const Choices &choices);                   // [T,K], or [T,K+S]
  mlir::Value finalWeights(const Choices &choices, RouterValues &out);
  mlir::Value keptSeconds(const Choices &choices);
  mlir::Value capacity(mlir::Value ids, mlir::Value weights);
  mlir::Value passed(mlir::Value weights, mlir::Value kept, mlir::Value before);
  mlir::Value constantExperts(mlir::Value weights, mlir::Value kept);
};

} // namespace moec

#endif
