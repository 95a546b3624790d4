// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.grouped_outer in -> one llvm.func with the signature of moec_kernel_fn.

#ifndef MOEC_CODEGEN_CPU_LOWEROUTER_H
#define MOEC_CODEGEN_CPU_LOWEROUTER_H

#include "codegen/cpu/LowerRows.h"

namespace moec {

// Whether the outer products of `op` are dot products of bf16 pairs where the ISA has them.
bool multipliesPairs(moe::GroupedOuterOp op);

// Arguments: OuterArgs; [first, last) are groups times OuterBlocks of elements. `toCaller`: out is
// a gradient of the caller, whose type and whether it adds up moec_call says; otherwise it is f32 and overwritten.
// Returns the scratch it needs in bytes.
int64_t lowerGroupedOuter(moe::GroupedOuterOp op, const RowStrides &strides, bool toCaller, const IsaFacts &isa,
                          mlir::ModuleOp module, llvm::StringRef symbol);

} // namespace moec

#endif
