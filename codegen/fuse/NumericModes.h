// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages in -> the same stages, those marked that a flag lets compute in another arithmetic or order on CUDA.

#ifndef MOEC_CODEGEN_FUSE_NUMERICMODES_H
#define MOEC_CODEGEN_FUSE_NUMERICMODES_H

#include "codegen/fuse/FuseStages.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

namespace moe {
// Unit attributes of stages. A matmul with the first may round f32 operands to tf32. A matmul and the combine behind it
// with the second: the matmul adds its rows to their tokens' sums in any order, the combine finishes these.
inline constexpr llvm::StringLiteral tf32Attr = "moe.tf32", unorderedAttr = "moe.unordered";
} // namespace moe

// Stages from which a choice follows or an output of routing.
llvm::DenseSet<mlir::Operation *> decidingStages(mlir::func::FuncOp layer);

// Matmuls of f32 by f32, but for those from which a choice follows (an id, a token that an expert takes, a place) or an
// output of routing: a logit that is off by 1e-3 sends tokens elsewhere.
void markTf32(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

// Takes the report `diversity` from the layer: it would read the rows that unordered sums do not keep. Before fusion.
void dropDiversity(mlir::func::FuncOp layer);

// Matmuls whose rows nothing reads but a combine over the route of a dispatch, and these combines, where the weights of
// the choices are known before the matmul runs.
void markUnordered(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

} // namespace moec

#endif
