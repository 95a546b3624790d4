// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.token_reduce and moe.slot_inputs in -> one llvm.func each with the signature of moec_kernel_fn.

#ifndef MOEC_CODEGEN_CPU_LOWERTOKENS_H
#define MOEC_CODEGEN_CPU_LOWERTOKENS_H

#include "codegen/cpu/LowerRows.h"

namespace moec {

// Arguments: ColumnsArgs; [first, last) are scopes times blocks of tokenReduceBlock columns. Needs no scratch.
int64_t lowerTokenReduce(moe::TokenReduceOp op, const IsaFacts &isa, mlir::ModuleOp module, llvm::StringRef symbol);

// Arguments: ColumnsArgs with out [N], once for the call. Needs no scratch.
int64_t lowerTokenTotal(moe::TokenTotalOp op, const IsaFacts &isa, mlir::ModuleOp module, llvm::StringRef symbol);

// Arguments: SlotInputsArgs; [first, last) are rows of the route of slots. Needs no scratch.
int64_t lowerSlotInputs(moe::SlotInputsOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                        llvm::StringRef symbol);

} // namespace moec

#endif
