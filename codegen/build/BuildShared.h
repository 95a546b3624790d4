// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// shared block of a spec -> the shared experts' output, and the factors with which y mixes it.

#ifndef MOEC_CODEGEN_BUILD_BUILDSHARED_H
#define MOEC_CODEGEN_BUILD_BUILDSHARED_H

#include "codegen/build/BuildMlp.h"

namespace moec {

class SharedBuilder : RowOps {
public:
  // `spec.shared` must have a value. All must outlive the object.
  SharedBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), shared(*spec.shared), layer(layer) {}

  // `weights`: [T,S] f32 of the router where it weighs the shared experts, else null.
  SharedValues build(mlir::Value weights);

private:
  const LayerSpec &spec;
  const SharedSpec &shared;
  const LayerValues &layer;

  MlpShape shape() const;
  double scale() const; // of every block, with that of a mean
  // [T,H] f32, the sum of all times `weights` (null: 1). Of one block: its output, in the type of combine.rows.
  mlir::Value blocks(mlir::Value tokens, mlir::Value weights);
  mlir::Value sigmoidGate(mlir::Value tokens);  // [T] f32
  mlir::Value softmaxGates(mlir::Value tokens); // [T,2] f32: own, factor
};

} // namespace moec

#endif
