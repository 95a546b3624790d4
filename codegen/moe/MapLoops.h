// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ops of a row program -> an order for them in which maps over runs of one length stand together.
//
// Maps that share a loop pass what one reads of another in registers: it needs memory only if other ops read it, and
// terms that they have in common, as the sigmoid of an activation and of its slope, are computed once.

#ifndef MOEC_CODEGEN_MOE_MAPLOOPS_H
#define MOEC_CODEGEN_MOE_MAPLOOPS_H

#include "codegen/moe/MoeDialect.h"

#include <vector>

namespace moec {

// A map whose result is a run, [L,N].
bool isRunMap(mlir::Operation *op);

// One op, or maps over runs that share a loop: each reads of the others what is at its own element.
using RowStep = llvm::SmallVector<mlir::Operation *>;

// Every op of `body` but its terminator, once, behind those that it reads. `alike`: whether two maps over runs of one
// length may share a loop; it is asked when the operands of both are known.
std::vector<RowStep> rowSteps(mlir::Block &body, llvm::function_ref<bool(moe::MapOp, moe::MapOp)> alike);

} // namespace moec

#endif
