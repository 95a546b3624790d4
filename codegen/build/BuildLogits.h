// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The router's input -> logits, noise, and the scores of all experts.

#ifndef MOEC_CODEGEN_BUILD_BUILDLOGITS_H
#define MOEC_CODEGEN_BUILD_BUILDLOGITS_H

#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

// Logits that selection compares and logits that weights are made of; noise may change only one of them.
struct NoisyLogits {
  mlir::Value choice, weights; // [T,R] f32
};

// What selection compares, and what the weights of the chosen are gathered from; with score_over selected, both are
// logits. Null if the router has no logits of experts.
struct RouterScores {
  mlir::Value choice, weights; // [T,R] f32
  mlir::Value shared;          // [T,S] f32, as `weights`, of the shared experts that the router weighs; may be null
};

class LogitsBuilder : RowOps {
public:
  // All must outlive the object.
  LogitsBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer) {}

  // [T,R] f32: x · role^T of a router or of one of its levels, then bias and transforms.
  mlir::Value logits(const RouterSpec &router, const std::string &role, const std::string &biasRole = "router.bias");
  // Those of the layer's router, of all groups of tokens; [T,R+S] with rows for S shared experts.
  mlir::Value routerLogits();
  NoisyLogits withNoise(mlir::Value logits);
  mlir::Value jittered(mlir::Value rows, mlir::Type type); // [T,H] as `type`
  mlir::Value noiseDeviation();                            // [T,R] of learned noise, without eps
  RouterScores scores(mlir::Value logits);                 // of routerLogits()
  mlir::Value ofKnownGroup(mlir::Value ids);               // -1 for tokens whose group does not exist

private:
  const LayerSpec &spec;
  const LayerValues &layer;

  mlir::Value input();
  mlir::Value cosine(mlir::Value z, mlir::Value input, mlir::Value weight, const LogitTransform &transform);
  mlir::Value transformed(mlir::Value z, const LogitTransform &transform);
  mlir::Value maskedByGroups(mlir::Value choice);
  mlir::Value ofOwnGroup(mlir::Value values); // -inf for experts of other groups of tokens
  mlir::Value withChoiceBias(mlir::Value choice);
  mlir::Value withoutDropped(mlir::Value choice); // -inf for experts that a token does without
};

} // namespace moec

#endif
