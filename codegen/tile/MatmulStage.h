// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MatmulStage: the facts of one fused moe.grouped_matmul that its schedule and its kernel templates depend on.

#ifndef MOEC_CODEGEN_TILE_MATMULSTAGE_H
#define MOEC_CODEGEN_TILE_MATMULSTAGE_H

#include "codegen/tile/MatmulMode.h"

#include "runtime/moec_dtype.h"

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

// CPU: where matrices of the other order lie in the panels that forward reads. The kernel transposes one column panel
// at a time. Blocks are 16 columns of a part; a panel has one of each part, or two of its one.
struct TransposedPanels {
  int64_t groupBytes = 0, panelBytes = 0, blocks = 0, parts = 1, part = 0, depth = 0; // depth: padded
  bool any() const { return groupBytes != 0; }
};

struct MatmulStage {
  std::string name;                                               // "ffn_up"; empty: none
  int64_t n = 0, k = 0;                                           // columns of a part, depth; both at least 1
  int64_t parts = 1;                                              // matrices of B
  moec_dtype in = MOEC_F32, weight = MOEC_F32, result = MOEC_F32; // of elements: f32, bf16 or f16
  int64_t groups = 1;                                             // of B
  TransposedPanels transposed;                                    // any(): of a CPU stage whose weights are shared
  int64_t matrices = 0;     // CUDA: of B from one group to the next, where that is not `parts`; else 0
  int64_t rowsPerToken = 1; // choices of the route the stage runs over; 1 without one
  int64_t panels = 0;       // column panels of a group (moec_weight)
  int64_t panelBytes = 0;
  int64_t aStride = 0;       // bytes from one row of A to the next
  int64_t outStride = 0;     // bytes from one row of the output to the next
  bool gathered = false;     // A rows through row_token
  bool weightsEarly = false; // CUDA: a block knows its first weights before the previous launch ends
  MatmulMode mode;
  llvm::SmallVector<MatmulOperand> prologueOperands, epilogueOperands;
  mlir::Region *prologue = nullptr, *epilogue = nullptr; // null or empty: identity

  int64_t columnsPerPanel() const { return parts == 2 ? 16 : 32; }
  int64_t routeGroups() const { return mode.routed ? groups : 1; }
  int64_t inputBytes() const { return moec_dtype_bytes(in); }
  int64_t weightBytes() const { return moec_dtype_bytes(weight); }
  // Tensor cores multiply elements of one type: 2-byte ones, and f32 as tf32. AMX tiles multiply bf16.
  bool halves() const { return inputBytes() == 2 && in == weight; }
  bool tensorCores() const { return halves() || mode.tf32; }
  bool bf16Pairs() const { return halves() && in == MOEC_BF16; }
  // No prologue, and rows begin at multiples of 16 bytes or are gathered.
  bool plainRows() const { return (!prologue || prologue->empty()) && (gathered || aStride % 16 == 0); }
};

} // namespace moec

#endif
