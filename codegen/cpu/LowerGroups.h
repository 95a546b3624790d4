// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of backward passes other than outer products in -> one llvm.func each with the signature of moec_kernel_fn.

#ifndef MOEC_CODEGEN_CPU_LOWERGROUPS_H
#define MOEC_CODEGEN_CPU_LOWERGROUPS_H

#include "codegen/cpu/LowerRows.h"
#include "codegen/plan/LaunchPlan.h"

namespace moec {

// None needs scratch. Arguments: the struct of StepArgs.h that is named like the op.
//
//   group_sum       [first, last): groups times blocks of tokenReduceBlock columns
//   slot_values     tokens
//   slot_products   tokens
//   parameter_sum   blocks of parameterBlock elements
//   scaled_rows     rows of the matrix, whose panels are `weight`
void lowerGroupSum(moe::GroupSumOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                   llvm::StringRef symbol);
void lowerSlotValues(moe::SlotValuesOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                     llvm::StringRef symbol);
void lowerSlotProducts(moe::SlotProductsOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                       llvm::StringRef symbol);
void lowerParameterSum(moe::ParameterSumOp op, const IsaFacts &isa, mlir::ModuleOp module, llvm::StringRef symbol);
void lowerScaledRows(moe::ScaledRowsOp op, const moec_weight &weight, const IsaFacts &isa, mlir::ModuleOp module,
                     llvm::StringRef symbol);

} // namespace moec

#endif
