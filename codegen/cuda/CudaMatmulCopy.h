// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Copies of a block's threads: rows of A and, without roles, of B -> a slot of the ring.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULCOPY_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULCOPY_H

#include "codegen/cuda/CudaMatmulTiles.h"

namespace moec {

class CudaMatmulCopies {
public:
  CudaMatmulCopies(const CudaMatmulBlock &block, const CudaMatmulTiles &tiles) : block(block), tiles(tiles) {}

  // Addresses of the tile under way; nothing for what TMA brings.
  void findRows();
  void findWeights();
  // Step `step` of the whole depth; `slot`: shared pointer to the side's rows.
  void copyRows(mlir::Value step, mlir::Value slot);
  void copyWeights(mlir::Value step, mlir::Value slot);

private:
  using Values = CudaEmitter::Values;
  // What a thread copies of one side: chunk `chunk` of rows tid/chunks + i * stride.
  struct Source {
    Values pointers; // global, at chunk `chunk` of step 0
    Values present;  // i1: the row exists
    Values rows;     // i64, row of the operation, for prologue operands; A only
  };

  mlir::Value copyLine(const SlotSide &side, int64_t i);  // i32 line of the slot
  mlir::Value copyChunk(const SlotSide &side, int64_t i); // i32 chunk of the line, the same for all i of short lines
  bool linesAreLong(const SlotSide &side) const { return side.chunks() > shape.copyThreads(); }
  // Emits `body` for copy i, under a condition if not all threads have one.
  void forCopy(const SlotSide &side, int64_t i, llvm::function_ref<void()> body);
  void copyAsync(const SlotSide &side, const Source &source, mlir::Value step, mlir::Value slot, int64_t depthBytes);
  void findLines();
  void copyLines(mlir::Value step, mlir::Value slot);
  void copyThroughRegisters(mlir::Value step, mlir::Value slot);
  Values loadOrZero(mlir::Value exists, mlir::Value from, int64_t lanes, const Values &operands);

  const CudaMatmulBlock &block;
  const CudaMatmulTiles &tiles;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = block.shape;
  Source aSource, bSource;
};

} // namespace moec

#endif
