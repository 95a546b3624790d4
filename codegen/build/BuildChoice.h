// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scores of all experts -> the ids that every token chooses.

#ifndef MOEC_CODEGEN_BUILD_BUILDCHOICE_H
#define MOEC_CODEGEN_BUILD_BUILDCHOICE_H

#include "codegen/build/BuildLogits.h"

namespace moec {

struct Choices {
  mlir::Value ids;      // [T,K] i32, -1 = none
  bool partial = false; // some ids may be -1
  // Null: weights are gathered from the scores of all experts.
  mlir::Value scores;  // [T,K] f32: scores of the chosen, or their logits with score_over selected
  mlir::Value weights; // [T,K] f32: the weights that selection has already made
  mlir::Value shared;  // [T,S] f32: the weights of shared experts that the router weighs, made with those
};

// Kinds of one level in which tokens choose experts; BuildLevels.h has those of two.
class ChoiceBuilder : RowOps {
public:
  // All must outlive the object.
  ChoiceBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer), noise(ops, spec, layer) {}

  // `logits` and `scores` are null for kinds without a router's weight; product keys have logits only.
  Choices choose(mlir::Value logits, const RouterScores &scores);

private:
  Choices chosen(mlir::Value logits, const RouterScores &scores);
  mlir::Value replaced(mlir::Value ids); // router.random_replace; `ids` if it does not act
  mlir::Value dropped(mlir::Value ids);  // router.expert_dropout: -1 for experts that a token does without
  const LayerSpec &spec;
  const LayerValues &layer;
  LogitsBuilder noise;

  Choices ranked(const RouterScores &scores);
  mlir::Value ordered(const RouterScores &scores); // [T,k] i32, the best first
  mlir::Value reachedBefore(mlir::Value scores, double p);
  Choices pair(const NoisyLogits &logits, const RouterScores &scores);
  Choices sparse(mlir::Value logits);
  mlir::Value sampled(); // [T,2] i32, the caller's choices of sparsemixer
  Choices productKeys(mlir::Value logits);
  Choices given(const RouterScores &scores);
};

} // namespace moec

#endif
