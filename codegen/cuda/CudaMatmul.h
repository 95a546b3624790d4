// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile.kernel of templates/kernels/cuda, instantiated for a stage, in -> one CUDA kernel.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMUL_H
#define MOEC_CODEGEN_CUDA_CUDAMATMUL_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/tile/TileDialect.h"

namespace moec {

// Kernel parameters: T, CudaMatmulArgs. A and OUT must be 16-byte aligned. Block b of the grid computes tiles b, b +
// grid, ..., so any grid is correct. A kernel with the unit attribute `joined` also computes a second stage, without a
// route: the same matmul on other buffers with T rows. Its tiles follow those of the first stage.
//
// The facts' units are tiles for T tokens. Without a route they are exact; with one the caller sets them from the bound
// of the list.
struct CudaMatmulFacts : CudaKernelFacts {
  int64_t mapRows = 0, mapDepth = 0; // box of B's descriptor, 128-byte swizzle; 0: B is a pointer
  int64_t aMapRows = 0;              // rows of the box of A's descriptor, of the same depth; 0: A is a pointer
  int64_t splits = 1;                // more than 1: the sums kernel follows
  CudaMatmulArgs<unsigned> args;     // positions behind T
};
CudaMatmulFacts lowerCudaMatmul(tile::KernelOp kernel, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

// The second kernel of a stage whose depth is split: adds the shares' partial sums in ascending order, runs the
// epilogue and writes OUT. It has the parameters of the first kernel. The table of partial sums is f32
//
//     partial[share][row][part][column],   rows 0 .. split_rows - 1 (an attribute of the tile.kernel)
//
// with as many rows as the largest call has tokens.
CudaKernelFacts lowerCudaMatmulSums(tile::KernelOp kernel, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

CudaMatmulArgs<unsigned> cudaMatmulArgs(tile::KernelOp kernel); // positions behind T

// Emits the sums inside another kernel, with all of its `threads`. Uses no shared memory.
void emitCudaMatmulSums(CudaEmitter &e, CudaKernelShell &shell, tile::KernelOp kernel, int64_t sm,
                        const CudaMatmulArgs<mlir::Value> &args, int64_t threads);

} // namespace moec

#endif
