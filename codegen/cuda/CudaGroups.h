// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of backward passes other than matmuls and outer products in -> one CUDA kernel each, and the kernels of what the
// runtime does in the steps of a CPU: storing gradients, copying.

#ifndef MOEC_CODEGEN_CUDA_CUDAGROUPS_H
#define MOEC_CODEGEN_CUDA_CUDAGROUPS_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/plan/LaunchPlan.h"

namespace moec {

// Kernel parameters: T, the struct of StepArgs.h that is named like the op. Units are whole parameters, so that a call
// of no token stores zeros, except those of slot_values and slot_products, which are tokens.
CudaKernelFacts lowerCudaGroupSum(moe::GroupSumOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                  llvm::StringRef symbol);
CudaKernelFacts lowerCudaSlotValues(moe::SlotValuesOp op, const RowStrides &strides, int64_t sm, mlir::ModuleOp module,
                                    llvm::StringRef symbol);
CudaKernelFacts lowerCudaSlotProducts(moe::SlotProductsOp op, const RowStrides &strides, int64_t sm,
                                      mlir::ModuleOp module, llvm::StringRef symbol);
CudaKernelFacts lowerCudaParameterSum(moe::ParameterSumOp op, int64_t sm, mlir::ModuleOp module,
                                      llvm::StringRef symbol);
// `weight`: the matrix as CUDA packs it.
CudaKernelFacts lowerCudaScaledRows(moe::ScaledRowsOp op, const moec_weight &weight, int64_t sm, mlir::ModuleOp module,
                                    llvm::StringRef symbol);

// Rows first .. last - 1 of group `group`; of all groups where `group` is null, of all tokens where `offsets` is. None
// of a frozen group, nor in a call of no token, which leaves the route as it was.
struct CudaGroupRows {
  mlir::Value first, last; // i64
};
CudaGroupRows rowsOfGroup(CudaEmitter &e, std::optional<mlir::Value> offsets, int64_t groups, mlir::Value group,
                          mlir::Value numTokens, std::optional<llvm::ArrayRef<int64_t>> frozen);

// Where the values of one role lie among those of a step.
struct CudaGradientShape {
  int64_t first = 0;                            // element
  int64_t rows = 1, columns = 1, rowStride = 1; // in elements
  bool matrix = false;                          // has the type that the call asks for; others are f32
};

// How a call wants gradients, MOEC_CUDA_FORM: what a kernel adds to, and the type of matrices.
struct CudaGradientForm {
  mlir::Value adds, type; // i1; i64, moec_dtype
  CudaGradientForm(CudaEmitter &e, mlir::Value form);
};
// Calls store(type, adds) for the form of the call; `shortTypes`: those of matrices besides f32.
void whenForm(CudaEmitter &e, const CudaGradientForm &form, llvm::ArrayRef<mlir::Type> shortTypes,
              llvm::function_ref<void(mlir::Type, bool)> store);
// *to = values or *to += values, neighbours.
void storeGradient(CudaEmitter &e, mlir::Value to, llvm::ArrayRef<mlir::Value> values, mlir::Type type, bool adds);

// Kernel parameters: T, CudaGradientArgs, form. Does not wait for anything but its predecessor.
CudaKernelFacts lowerCudaStoreGradient(const CudaGradientShape &shape, llvm::ArrayRef<mlir::Type> shortTypes,
                                       int64_t sm, mlir::Location loc, mlir::ModuleOp module, llvm::StringRef symbol);

// Kernel parameters: T, CopyArgs. `bytes` of a call, even, without a part per sequence; zeros where `from` is null.
CudaKernelFacts lowerCudaCopy(moec_extent bytes, int64_t sm, mlir::Location loc, mlir::ModuleOp module,
                              llvm::StringRef symbol);

} // namespace moec

#endif
