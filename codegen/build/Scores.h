// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Logits -> scores. `key` is the spec's key that names the score, for refusals.

#ifndef MOEC_CODEGEN_BUILD_SCORES_H
#define MOEC_CODEGEN_BUILD_SCORES_H

#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

// [T,N] f(z); a softmax is over each of `runs` parts of a row.
mlir::Value scored(RowOps &ops, Score score, const char *key, mlir::Value z, int64_t runs = 1);

// [T,N] s / sum s; softmax(z) for softmax and for raw logits, which may be negative.
mlir::Value probabilities(RowOps &ops, Score score, const char *key, mlir::Value z);

} // namespace moec

#endif
