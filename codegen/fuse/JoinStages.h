// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages in -> the same stages, in which a shared expert's matmul directly precedes the routed experts' matmul
// that it can share a launch with.

#ifndef MOEC_CODEGEN_FUSE_JOINSTAGES_H
#define MOEC_CODEGEN_FUSE_JOINSTAGES_H

#include "codegen/fuse/FuseStages.h"

#include "llvm/ADT/StringRef.h"

namespace moec {

namespace moe {
// Unit attribute of a matmul without a route. The next op is then a matmul with a route and the same depth, columns,
// parts, types and epilogue; neither depends on the other and their buffers are live at the same time. A target may run
// both in one launch, treating the first's rows as one more group that all tokens have chosen.
inline constexpr llvm::StringLiteral joinedAttr = "moe.joined";
} // namespace moe

// CUDA targets join up to this many tokens. With more, a group of all tokens needs larger tiles than groups of few.
constexpr int64_t joinedTokens = 16;

// Marks every such pair. For every matmul without a route that does not affect routing, a note says what was decided.
void joinStages(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

} // namespace moec

#endif
