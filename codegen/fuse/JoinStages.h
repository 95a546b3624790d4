// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages in -> the same stages, matmuls of a shared expert moved before those of routed experts that can run in
// the same launch.

#ifndef MOEC_CODEGEN_FUSE_JOINSTAGES_H
#define MOEC_CODEGEN_FUSE_JOINSTAGES_H

#include "codegen/fuse/FuseStages.h"

#include "llvm/ADT/StringRef.h"

namespace moec {

namespace moe {
// Unit attribute of a matmul without a route: the next op is a matmul with a route of the same depth, columns, parts,
// types and epilogue, neither needs the other, and their buffers live side by side. A target may run both in one
// launch, the rows of the first as one more group that all tokens have chosen.
inline constexpr llvm::StringLiteral joinedAttr = "moe.joined";
} // namespace moe

// The most tokens of a call for which CUDA targets do: with more, a group of all tokens wants larger tiles than groups
// of few.
constexpr int64_t joinedTokens = 16;

// Marks every pair there is. A note says for every matmul without a route, from which no choice follows, what became of
// it.
void joinStages(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

} // namespace moec

#endif
