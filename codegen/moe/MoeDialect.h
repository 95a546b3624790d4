// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The moe dialect's C++ classes, generated from MoeOps.td.

#ifndef MOEC_CODEGEN_MOE_MOEDIALECT_H
#define MOEC_CODEGEN_MOE_MOEDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "codegen/moe/MoeOpsDialect.h.inc"
#include "codegen/moe/MoeOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "codegen/moe/MoeOpsAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "codegen/moe/MoeOpsTypes.h.inc"
#define GET_OP_CLASSES
#include "codegen/moe/MoeOps.h.inc"

namespace moec::moe {

// The kind of operand i of a kinds array.
OperandKind kindAt(mlir::ArrayAttr kinds, unsigned i);
mlir::ArrayAttr kindArray(mlir::MLIRContext *context, llvm::ArrayRef<OperandKind> kinds);

// The kind of token_total that corresponds to a token_reduce.
inline TotalKind totalOf(ReduceKind kind) { return kind == ReduceKind::sum ? TotalKind::sum : TotalKind::max; }

// True for ops that compute every row independently and may therefore be part of a row_program.
bool isRowOp(mlir::Operation *op);

} // namespace moec::moe

#endif
