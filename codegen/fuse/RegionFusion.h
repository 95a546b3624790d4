// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage and a map beside it -> the stage with the map's region inside. Private to the fusion rules.

#ifndef MOEC_CODEGEN_FUSE_REGIONFUSION_H
#define MOEC_CODEGEN_FUSE_REGIONFUSION_H

#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"

namespace moec {

// Operands of a region under construction: values and kinds in parallel.
struct RegionOperands {
  llvm::SmallVector<mlir::Value> values;
  llvm::SmallVector<moe::OperandKind> kinds;
  void add(mlir::OperandRange range, mlir::ArrayAttr rangeKinds);
  mlir::ArrayAttr kindsAttr(mlir::MLIRContext *context) const { return moe::kindArray(context, kinds); }
};

// The parts of a matmul that fusion may change.
struct MatmulPieces {
  mlir::Value a, route;
  llvm::SmallVector<mlir::Value> parts;
  RegionOperands prologue, epilogue;
  bool gathered = false, transposed = false;
  explicit MatmulPieces(moe::GroupedMatmulOp op);
};

// Creates a matmul from these pieces at `builder`, with empty regions.
moe::GroupedMatmulOp createMatmul(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type type,
                                  const MatmulPieces &pieces);

// Fills `region` with a block of `numLeading` arguments of type `leading`, then the operands' elements.
mlir::Block *startRegion(mlir::Region &region, llvm::ArrayRef<mlir::Type> leading, const RegionOperands &operands,
                         mlir::Location loc);

// Clones the body of `from`, its arguments replaced by `arguments`, to the end of `block`; returns what it yields.
mlir::Value inlineRegion(mlir::Region &from, mlir::ValueRange arguments, mlir::Block *block);

void yieldValue(mlir::Block *block, mlir::Value value);

// Appends the region of `map` to the epilogue of `op`, a grouped_matmul or a combine whose result is operand `index` of
// `map`. Replaces both ops by the result.
mlir::Operation *appendEpilogue(mlir::Operation *op, moe::MapOp map, unsigned index);

bool hasOneUse(mlir::Value value); // exactly one use, which is not the layer's return

} // namespace moec

#endif
