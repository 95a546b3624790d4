// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The front: one kernel of one block that does, for few tokens, all work between a router's matmul and its experts. It
// adds the router's shares, runs the row program that chooses, and dispatches the choices, so that three launches of a
// few microseconds become one.

#ifndef MOEC_CODEGEN_CUDA_CUDAFRONT_H
#define MOEC_CODEGEN_CUDA_CUDAFRONT_H

#include "codegen/cuda/CudaDispatch.h"
#include "codegen/cuda/CudaMatmul.h"
#include "codegen/cuda/CudaRows.h"

namespace moec {

struct CudaFrontShape {
  tile::KernelOp split;   // the router's matmul if its depth is split; null: its output is complete
  moe::RowProgramOp rows; // without a route; makes the ids
  RowStrides strides;     // of the arguments of `rows`
  CudaDispatchShape dispatch;
  int64_t firstToken = 0, lastToken = 0; // of the calls that launch the kernel
};

// Parameters: T, CudaFrontArgs. Computes the same bits as the three kernels. Correct for any T; its time grows with T
// because one block does the work.
CudaKernelFacts lowerCudaFront(const CudaFrontShape &shape, mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
