// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages in -> the same stages, with marks on those that --math and --det allow to use tf32 or unordered sums on
// CUDA.

#ifndef MOEC_CODEGEN_FUSE_NUMERICMODES_H
#define MOEC_CODEGEN_FUSE_NUMERICMODES_H

#include "codegen/fuse/FuseStages.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

namespace moe {
// Unit attributes of stages. tf32Attr: the matmul may round f32 operands to tf32. unorderedAttr, on a matmul and the
// combine after it: the matmul adds its rows to the sums of their tokens in any order, and the combine finishes the
// sums.
inline constexpr llvm::StringLiteral tf32Attr = "moe.tf32", unorderedAttr = "moe.unordered";
} // namespace moe

// Stages on which a choice or a routing output depends.
llvm::DenseSet<mlir::Operation *> decidingStages(mlir::func::FuncOp layer);

// Marks matmuls of f32 by f32, except those that decide a choice (an id, a token that an expert takes, a place) or feed
// a routing output: an error of 1e-3 in a logit can send tokens to other experts.
void markTf32(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

// Removes the report `diversity` from the layer, because unordered sums never store the rows it reads. Before fusion.
void dropDiversity(mlir::func::FuncOp layer);

// Marks a matmul and a combine if only that combine reads the matmul's rows, its route comes from a dispatch, and the
// weights of the choices are known before the matmul runs.
void markUnordered(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

} // namespace moec

#endif
