// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A moe.row_program in -> one CUDA kernel in which a warp computes a row.

#ifndef MOEC_CODEGEN_CUDA_CUDAROWS_H
#define MOEC_CODEGEN_CUDA_CUDAROWS_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

namespace moec {

// Kernel parameters: T, the arguments of `strides` ([inputs..., outputs...]; a route among the inputs stands for two,
// row_token and row_slot), then offsets [G+1] of the route if the program runs over one. Units are rows, T or the
// most the route has. Shared memory is what the widest moment of the program needs, times the warps of a block (4, 2 or
// 1), and more than 48 KiB only where one row alone needs that; facts.sharedBytes above the device's limit means the
// program is too wide for this target.
CudaKernelFacts lowerCudaRowProgram(moe::RowProgramOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                    llvm::StringRef symbol);

size_t cudaRowProgramPointers(moe::RowProgramOp op, const RowStrides &strides); // parameters behind T

// The same inside another kernel, for a program without a route: warp w of `threads` threads computes rows w, w +
// warps, ... of T, with as many warps as `mostBytes` of shared memory serve; its parameters begin with the kernel's
// number `firstArgument`. Bytes of shared memory it uses, from the first.
int64_t emitCudaRowProgram(CudaEmitter &e, CudaKernelShell &shell, moe::RowProgramOp op, const RowStrides &strides,
                           size_t firstArgument, int64_t threads, int64_t mostBytes);

} // namespace moec

#endif
