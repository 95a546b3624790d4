// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A moe.row_program in -> one CUDA kernel in which a warp computes a row.

#ifndef MOEC_CODEGEN_CUDA_CUDAROWS_H
#define MOEC_CODEGEN_CUDA_CUDAROWS_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

namespace moec {

// Whether the kernel of a program has the tokens of one sequence as its last parameter.
bool readsSequence(moe::RowProgramOp op);

// Kernel parameters: T, CudaRowProgramArgs, and where readsSequence the tokens of one sequence; `strides` are those of
// the step's. Units are rows: T, or the route's bound.
// Shared memory is the program's peak for one row times the warps of a block (4, 2 or 1). It exceeds 48 KiB only if one
// row needs that. If facts.sharedBytes exceeds the device's limit, the program is too wide for this target.
CudaKernelFacts lowerCudaRowProgram(moe::RowProgramOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                    llvm::StringRef symbol);

// Emits a program without a route inside another kernel. Of the kernel's `threads` it uses as many warps as fit into
// `mostBytes` of shared memory; warp w computes rows w, w + warps, ... of T. Returns the bytes of shared memory that it
// uses, from offset 0.
int64_t emitCudaRowProgram(CudaEmitter &e, CudaKernelShell &shell, moe::RowProgramOp op, const RowStrides &strides,
                           const RowProgramArgs<mlir::Value> &args, int64_t threads, int64_t mostBytes);

} // namespace moec

#endif
