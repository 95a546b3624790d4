// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hierarchical routers: a choice of groups, and in each of them a choice of experts -> ids and weights.

#ifndef MOEC_CODEGEN_BUILD_BUILDLEVELS_H
#define MOEC_CODEGEN_BUILD_BUILDLEVELS_H

#include "codegen/build/BuildChoice.h"

namespace moec {

class LevelsBuilder : RowOps {
public:
  // All must outlive the object.
  LevelsBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer), router(ops, spec, layer) {}

  Choices choose();

private:
  const LayerSpec &spec;
  const LayerValues &layer;
  LogitsBuilder router;

  Choices chooseLevel(const RouterSpec &level, mlir::Value logits, int64_t runs);
};

} // namespace moec

#endif
