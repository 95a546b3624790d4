// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.capacity and moe.top_tokens in -> one CUDA kernel each.

#ifndef MOEC_CODEGEN_CUDA_CUDAPLACES_H
#define MOEC_CODEGEN_CUDA_CUDAPLACES_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/moe/MoeDialect.h"

namespace moec {

// Parameters: T, CapacityArgs or TopTokensArgs, the tokens of one sequence. The result is the same on every run.
//
//     dropping     a block per scope and group keeps the first C slots of the queue, O(T*K) per group
//     next best    a warp per scope walks the queue in order, because each slot depends on all earlier ones; with
//                  keys it searches for the next slot every time, O((T*K)^2 / 32)
CudaKernelFacts lowerCudaCapacity(moe::CapacityOp op, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

// A block per scope and column.
CudaKernelFacts lowerCudaTopTokens(moe::TopTokensOp op, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
