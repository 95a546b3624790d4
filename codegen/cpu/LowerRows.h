// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A moe.row_program or moe.combine in -> one llvm.func with the signature of moec_kernel_fn over rows [first, last).

#ifndef MOEC_CODEGEN_CPU_LOWERROWS_H
#define MOEC_CODEGEN_CPU_LOWERROWS_H

#include "codegen/Target.h"
#include "codegen/lower/RowStrides.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/BuiltinOps.h"

namespace moec {

// Arguments: RowProgramArgs. Every value of the program is one row in this worker's scratch, vectorised over its last
// axis; rows are independent and may run in any order. Returns the bytes of scratch that the function needs.
int64_t lowerRowProgram(moe::RowProgramOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                        llvm::StringRef symbol);

// Arguments: CombineArgs; rows are tokens. Needs no scratch.
int64_t lowerCombine(moe::CombineOp op, const RowStrides &strides, const IsaFacts &isa, mlir::ModuleOp module,
                     llvm::StringRef symbol);

} // namespace moec

#endif
