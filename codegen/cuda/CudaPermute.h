// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of tokens -> a copy in the order of a route, for TMA to read.

#ifndef MOEC_CODEGEN_CUDA_CUDAPERMUTE_H
#define MOEC_CODEGEN_CUDA_CUDAPERMUTE_H

#include "codegen/cuda/CudaKernel.h"

namespace moec {

struct CudaPermuteShape {
  int64_t rowBytes = 0, stride = 0; // of a row of A: what is copied, and from one row to the next; even
  int64_t groups = 0;               // of the route
};

// From one row of the copy to the next.
inline int64_t cudaPermutedStride(int64_t rowBytes) { return (rowBytes + 15) / 16 * 16; }

// out[r] = A[row_token[r]] for every row of the route, padded with zeros to whole 16 bytes. Parameters: T,
// CudaPermuteArgs; `to` is 16-byte aligned. The facts' units are 16-byte chunks for one row per token; the caller
// multiplies them by the rows.
CudaKernelFacts lowerCudaPermute(const CudaPermuteShape &shape, int64_t sm, mlir::Location loc, mlir::ModuleOp module,
                                 llvm::StringRef symbol);

} // namespace moec

#endif
