// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kinds of routers in which experts take tokens instead of tokens experts: expert choice as a route of every expert a
// token was taken by, soft routing as a route of slots.

#ifndef MOEC_CODEGEN_BUILD_BUILDMIXING_H
#define MOEC_CODEGEN_BUILD_BUILDMIXING_H

#include "codegen/build/BuildLogits.h"

namespace moec {

class MixingBuilder : RowOps {
public:
  // All must outlive the object.
  MixingBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer), router(ops, spec, layer) {}

  RouterValues expertChoice();
  RouterValues soft();

private:
  const LayerSpec &spec;
  const LayerValues &layer;
  LogitsBuilder router;

  mlir::Value tokenSoftmax(mlir::Value values, moe::Scope scope);
  mlir::Value overExperts(mlir::Value weights, mlir::Value ids, moe::Scope scope);
  mlir::Value absentTo(mlir::Value values, double other);
};

} // namespace moec

#endif
