// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A slot of the ring in -> the thread's accumulators with its products added.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULMULTIPLY_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULMULTIPLY_H

#include "codegen/cuda/CudaMatmulBlock.h"

namespace moec {

// By mma.sync or FMA, by all warps of a block without roles; `step` is one of the tile.
CudaEmitter::Values emitMultiply(const CudaMatmulBlock &block, const CudaEmitter::Values &acc, mlir::Value step);

} // namespace moec

#endif
