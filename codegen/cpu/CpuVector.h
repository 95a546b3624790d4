// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The families that accumulate in vector registers: rows x (32 / lanes) of them. A row of A is packed as f32 or as
// bf16; the two differ in how they store a packed row and in how they multiply one step.

#ifndef MOEC_CODEGEN_CPU_CPUVECTOR_H
#define MOEC_CODEGEN_CPU_CPUVECTOR_H

#include "codegen/cpu/CpuLowering.h"

namespace moec {

class VectorAccumulators : public CpuLowering {
protected:
  // packedSize: bytes of one packed element of A
  VectorAccumulators(tile::KernelOp kernel, const IsaFacts &isa, int64_t packedSize)
      : CpuLowering(kernel, isa), packedSize(packedSize) {}

  int64_t vectors() { return 32 / e.isa.lanes; }

  // Packed rows are whole lines, which vector stores fill to the end, and one line more: rows a multiple of 4 KiB apart
  // would share one cache set.
  int64_t rowBytes(tile::PackedType type) {
    return int64_t(llvm::alignTo(integer(type.getKSteps()) * integer(type.getBlockK()) * packedSize, 64)) + 64;
  }
  int64_t packedBytes(tile::PackedType type) override { return rowBytes(type) * integer(type.getPanelM()); }

  Accumulator zero(int64_t rows) override { return Accumulator(rows * vectors(), e.constant(0.0, e.isa.lanes)); }
  void saveAccumulator(const Accumulator &acc, int64_t rows, mlir::Value to) override;
  Accumulator loadAccumulator(int64_t rows, mlir::Value from) override;

  // Addresses of A's first row and of B for the step that `op` multiplies.
  std::pair<mlir::Value, mlir::Value> stepOperands(tile::MmaOp op);

  // acc + A * B over the pairs of k of one step of bf16 weights, in tiles as `op` says: a loop, as unrolling 32 depths
  // would dominate compile time. `multiply` gets accumulators of the columns at hand, the address of the pair in A's
  // first row, and the pairs of B as i32 vectors. The step's prefetches, those of `op`'s block, are spread over the
  // pairs: all at once would hold up the products.
  using MultiplyPair = llvm::function_ref<void(Accumulator &acc, mlir::Value a, mlir::ArrayRef<mlir::Value> pairs)>;
  Accumulator multiplyPairs(tile::MmaOp op, const Accumulator &acc, MultiplyPair multiply);
  bool prefetchesAmong(tile::PrefetchOp op) override {
    return !mlir::cast<tile::PanelsType>(op.getPanels().getType()).getElement().isF32();
  }

  void pack(tile::PackOp op) override;

private:
  // One vector of a packed row: f32 values or what the prologue made of them.
  virtual mlir::Value packed(mlir::Value x) = 0;
  void forPairs(tile::MmaOp op, Accumulator &acc, mlir::Value a, mlir::Value b, int64_t firstTile, int64_t tiles,
                MultiplyPair multiply);
  void packRow(tile::PackOp op, mlir::Value from, mlir::Value to, mlir::Value row);

  int64_t packedSize;
};

} // namespace moec

#endif
