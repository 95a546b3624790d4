// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.grouped_outer in -> one CUDA kernel.

#ifndef MOEC_CODEGEN_CUDA_CUDAOUTER_H
#define MOEC_CODEGEN_CUDA_CUDAOUTER_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

namespace moec {

// Where the result goes: f32 of the workspace, or the caller's gradient in the form of the call (CudaGroups.h).
struct CudaOuterResult {
  bool toCaller = false;
  llvm::SmallVector<mlir::Type> shortTypes; // that the caller may ask for besides f32
};

// Kernel parameters: T, OuterArgs, and to the caller the form. A unit is a tile of one group; a group without rows
// stores zeros, and so does a call of no token.
CudaKernelFacts lowerCudaOuter(moe::GroupedOuterOp op, const RowStrides &strides, const CudaOuterResult &result,
                               int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
