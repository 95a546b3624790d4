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

  SharedValues build();

private:
  const LayerSpec &spec;
  const SharedSpec &shared;
  const LayerValues &layer;

  MlpShape shape() const;
  double scale() const;                         // of every block, with that of a mean
  mlir::Value blocks(mlir::Value tokens);       // [T,H] f32, the sum of all; a single one in the type of combine.rows
  mlir::Value sigmoidGate(mlir::Value tokens);  // [T] f32
  mlir::Value softmaxGates(mlir::Value tokens); // [T,2] f32: own, factor
};

} // namespace moec

#endif
