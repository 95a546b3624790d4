// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// router.normalize: weights -> weights divided by their norm, or their softmax.

#ifndef MOEC_CODEGEN_BUILD_NORMALIZER_H
#define MOEC_CODEGEN_BUILD_NORMALIZER_H

#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

class Normalizer : RowOps {
public:
  // `normalize` must outlive the object.
  Normalizer(const RowOps &ops, const RouterNormalize &normalize) : RowOps(ops), normalize(normalize) {}

  // [T,K] over a token's choices. Weights whose id is -1 stay 0; `ids` null: every choice has an expert.
  mlir::Value overChoices(mlir::Value weights, mlir::Value ids);

  // The two halves of a norm over something else, for kinds sum and lp: what it adds up, and inside a map, a weight
  // divided by the norm with that sum.
  mlir::Value summands(mlir::Value weights);
  mlir::Value divided(mlir::Value weight, mlir::Value sum);

private:
  const RouterNormalize &normalize;

  mlir::Value norm(mlir::Value sum); // inside a map, as the next two
  mlir::Value divisor(mlir::Value norm);
  mlir::Value power(mlir::Value v, double p);
};

} // namespace moec

#endif
