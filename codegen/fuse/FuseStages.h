// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer of moe ops -> the same layer with one op per stage: grouped_matmul, row_program, dispatch, combine.

#ifndef MOEC_CODEGEN_FUSE_FUSESTAGES_H
#define MOEC_CODEGEN_FUSE_FUSESTAGES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>
#include <vector>

namespace moec {

// One application of a rule, as explain --why prints it: "F1", "experts.gate and experts.up: one matmul with two
// parts".
struct FusionNote {
  std::string rule, text;
};

// The rules, in this order, each applied until it finds nothing. A value that has other uses or is a result of the
// layer is never fused away.
//
//   F1  a map of two matmuls with the same A, route and shape -> one matmul of two parts, the map its epilogue; maps
//       between join first
//   F3  a gather before a matmul -> gathered access; a map before a matmul whose other operands are row or scalar ->
//       prologue, unless it follows a matmul (then F4)
//   F4  a map after a matmul, its other operands elem, row, col or scalar -> epilogue, unless one of them is a combine
//   F5  a map after a combine, its other operands elem, row, col [H] or scalar -> epilogue of the combine
//   F2  remaining row ops over the same rows, with no stage between them -> one row_program, which itself computes the
//       columns it uses
//
// Every stage gets a unique `moe.stage` name, [a-z][a-z0-9_]{0,62}. Settles the layer's identity first
// (LayerIdentity.h). Emits an error only if a per-group column operand survives to F2, because a row program does not
// know a row's group. findLayer must have accepted `layer`.
mlir::LogicalResult fuseStages(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);

// Single rules.
bool fuseParts(mlir::func::FuncOp layer, std::vector<FusionNote> &notes); // F1
// Whether a stage of that name belongs to a backward pass, in a layer that has one.
inline bool isBackwardStage(llvm::StringRef name) {
  return name.contains("_dgrad") || name.contains("_wgrad") || name.contains("_backward");
}

bool fuseAccess(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);                     // F3
bool fuseEpilogues(mlir::func::FuncOp layer, std::vector<FusionNote> &notes);                  // F4, F5
mlir::LogicalResult formRowPrograms(mlir::func::FuncOp layer, std::vector<FusionNote> &notes); // F2
void nameStages(mlir::func::FuncOp layer);

// How notes name an op: "experts.gate and experts.up" for a matmul, otherwise "combine", "map", ...
std::string describeOp(mlir::Operation *op);

} // namespace moec

#endif
