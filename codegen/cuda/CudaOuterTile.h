// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tile of an outer product that a block computes: its shape, the copies of rows into slots, and the products of a
// slot. Private to codegen/cuda/CudaOuter*.cpp.

#ifndef MOEC_CODEGEN_CUDA_CUDAOUTERTILE_H
#define MOEC_CODEGEN_CUDA_CUDAOUTERTILE_H

#include "codegen/cuda/CudaMatmulBlock.h"

namespace moec {

// Both sides are depth first: a line of a slot is a row of the group. With wgmma a side's slot is atoms of 64 columns.
struct CudaOuterTile {
  CudaMatmulShape shape;
  bool wgmma = false;

  // [m] columns of A times [n] of B, `groups` times.
  CudaOuterTile(mlir::Type element, int64_t m, int64_t n, int64_t groups, int64_t sm);

  int64_t depth() const { return shape.a.depth(); } // rows of a step
  // Steps that are in flight while one is multiplied. wgmma may still read the slot of the step before.
  int64_t ahead() const { return shape.stages - (wgmma ? 2 : 1); }
};

// Columns column0 .. of one operand, whose rows are those of the group or, through `tokens`, of their tokens.
struct CudaOuterSource {
  mlir::Value base, column0;
  std::optional<mlir::Value> tokens;
  int64_t stride = 0, columns = 0; // bytes from row to row; of the operand
};

struct CudaOuterRows {
  mlir::Value first, last, steps; // of the group, i64
};

class CudaOuterSlots {
public:
  using Values = CudaEmitter::Values;
  CudaOuterSlots(const CudaMatmulBlock &block, const CudaOuterTile &tile) : block(block), tile(tile) {}

  // Rows of step `step` into its slot; zeros behind the group's last. Nothing for steps that it does not have.
  void copy(const SlotSide &side, const CudaOuterSource &source, const CudaOuterRows &rows, mlir::Value step);
  // acc += A' B of the slot of step `step`; with wgmma acc may still be in flight.
  Values multiply(const Values &acc, mlir::Value step);
  // Which of the thread's sums is row i, column j of its fragment.
  size_t sumAt(int64_t i, int64_t j) const;

private:
  mlir::Value place(const SlotSide &side, mlir::Value line, mlir::Value chunk) const;
  mlir::Value elements(const SlotSide &side, const CudaOuterSource &source, mlir::Value from, mlir::Value column,
                       mlir::Value present);

  const CudaMatmulBlock &block;
  const CudaOuterTile &tile;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = tile.shape;
};

} // namespace moec

#endif
