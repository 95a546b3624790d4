// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MatmulStage: the facts of one fused moe.grouped_matmul that a kernel template needs, layouts included.

#ifndef MOEC_CODEGEN_TILE_MATMULSTAGE_H
#define MOEC_CODEGEN_TILE_MATMULSTAGE_H

#include "codegen/tile/MatmulMode.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Region.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <string>

namespace moec {

// A buffer that a prologue or epilogue region reads one element of, besides A or the accumulators.
struct MatmulOperand {
  mlir::Type element;
  std::string kind;   // "elem" [R,N], "row" [R], "col" [G,N], "scalar"
  int64_t stride = 0; // bytes from one row (elem) or group (col) to the next
};

struct MatmulStage {
  std::string name;
  int64_t n = 0, k = 0; // columns of a part, depth
  int64_t parts = 1;    // matrices of B
  int64_t groups = 1;
  int64_t panels = 0; // column panels of a group (moec_weight)
  int64_t panelBytes = 0;
  int64_t aStride = 0;   // bytes from one row of A to the next
  int64_t outStride = 0; // bytes from one row of the output to the next
  bool gathered = false; // A rows through row_token
  MatmulMode mode;
  mlir::Type in, weight, result;
  llvm::SmallVector<MatmulOperand> prologueOperands, epilogueOperands;
  mlir::Region *prologue = nullptr, *epilogue = nullptr; // null or empty: identity

  int64_t columnsPerPanel() const { return parts == 2 ? 16 : 32; }
};

} // namespace moec

#endif
