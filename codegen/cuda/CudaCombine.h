// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A moe.combine in -> one CUDA kernel in which a thread computes 8 columns of a token.

#ifndef MOEC_CODEGEN_CUDA_CUDACOMBINE_H
#define MOEC_CODEGEN_CUDA_CUDACOMBINE_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

namespace moec {

// Kernel parameters: T, CombineArgs; `strides` are theirs. Choices are added in ascending order, f32, with the formula
// of the CPU. A buffer whose stride is a multiple of 16 bytes is read and written 16 bytes at a time and must be
// 16-byte aligned. Needs no shared memory.
CudaKernelFacts lowerCudaCombine(moe::CombineOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                 llvm::StringRef symbol);

// The rest of a combine after a matmul has added up its rows: out[t, h] = epilogue(sums[t, h], ...). Parameters and
// strides as above; the rows are sums [T, H] f32 without gaps, whatever their stride.
CudaKernelFacts lowerCudaFinish(moe::CombineOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                llvm::StringRef symbol);

// Clears `bytesPerToken` * T bytes (a multiple of 4), rounded up to 16. Parameters: T, CudaClearArgs, 16-byte aligned.
CudaKernelFacts lowerCudaClear(int64_t bytesPerToken, int64_t sm, mlir::Location loc, mlir::ModuleOp module,
                               llvm::StringRef symbol);

} // namespace moec

#endif
