// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands between a router's matmul and its experts, for few tokens in one kernel of one block: the shares' sums of
// the router, the row program that chooses, and the dispatch of its choices. Three launches of a few microseconds
// become one.

#ifndef MOEC_CODEGEN_CUDA_CUDAFRONT_H
#define MOEC_CODEGEN_CUDA_CUDAFRONT_H

#include "codegen/cuda/CudaDispatch.h"
#include "codegen/cuda/CudaMatmul.h"
#include "codegen/cuda/CudaRows.h"

namespace moec {

struct CudaFrontShape {
  tile::KernelOp split;   // the router's matmul where its depth is split; null: its output is complete
  moe::RowProgramOp rows; // without a route; makes the ids
  RowStrides strides;     // of the arguments of `rows`
  CudaDispatchShape dispatch;
  int64_t firstToken = 0, lastToken = 0; // of the calls that launch the kernel
};

// Parameters: T, those of lowerCudaMatmulSums, those of lowerCudaRowProgram, those of a dispatch kernel. The same bits
// as the three kernels give. Any T is right; the time grows with T, since one block does the work.
CudaKernelFacts lowerCudaFront(const CudaFrontShape &shape, mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
