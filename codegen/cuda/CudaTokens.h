// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels that look at all tokens of a scope: columns reduced, slots made and filled.

#ifndef MOEC_CODEGEN_CUDA_CUDATOKENS_H
#define MOEC_CODEGEN_CUDA_CUDATOKENS_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

#include <vector>

namespace moec {

// The last parameter of every kernel is i64, the tokens of one sequence. Tokens are summed in an order that depends
// only on their number.

// Parameters: T, ColumnsArgs, sequence. A block reduces 64 columns of a scope.
CudaKernelFacts lowerCudaTokenReduce(moe::TokenReduceOp op, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

// The same with out [N], once for the call.
CudaKernelFacts lowerCudaTokenTotal(moe::TokenTotalOp op, int64_t sm, mlir::ModuleOp module, llvm::StringRef symbol);

// Parameters: T, SlotInputsArgs, sequence. A block makes 8 slots of a scope.
CudaKernelFacts lowerCudaSlotInputs(moe::SlotInputsOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                    llvm::StringRef symbol);

// Parameters: T, CudaSlotsArgs, sequence: the tables of a route of slots, and one list (moec_cuda_item) per block size.
CudaKernelFacts lowerCudaSlots(moe::SlotsOp op, const std::vector<int64_t> &blockSizes, int64_t sm,
                               mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
