// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// layer block of a spec: which tokens a wrap lets through to the experts, the dense block of the others, and y.

#ifndef MOEC_CODEGEN_BUILD_BUILDWRAP_H
#define MOEC_CODEGEN_BUILD_BUILDWRAP_H

#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

struct WrapValues {
  mlir::Value present; // [T,1] i32: 1 where the experts run, 0 elsewhere
  mlir::Value factor;  // [T] f32: of the experts' output, in a depth wrap
};

class WrapBuilder : RowOps {
public:
  // All must outlive the object.
  WrapBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer) {}

  WrapValues presence(); // reads x and parameters

  // [T,H] in the output's type: y, from all that the layer's parts have computed.
  mlir::Value output(const WrapValues &wrap, mlir::Value combined, const RouterValues &router,
                     const std::optional<SharedValues> &shared);

private:
  // What y is the sum of; null: the layer does not have it.
  struct Summands {
    mlir::Value combined, passed, added, bias;
    std::optional<SharedValues> shared;
  };

  const LayerSpec &spec;
  const LayerValues &layer;

  mlir::Value logit();                    // [T,1] f32
  mlir::Value dense(mlir::Value present); // [T,H] f32
  mlir::Value mixed(const Summands &parts, const WrapValues *wrap, mlir::Type type);
};

} // namespace moec

#endif
