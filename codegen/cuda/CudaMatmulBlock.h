// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The threads and the shared memory of a matmul kernel's block, as values of the kernel.
//
// Chunk c (16 bytes) of a row of a slot is stored at c ^ f(row), f = row & 7, (row >> 1) & 3 or (row >> 2) & 1 for rows
// of 8, 4 or 2 chunks, so that eight consecutive rows cover all 32 banks whichever chunk is read.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULBLOCK_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULBLOCK_H

#include "codegen/cuda/CudaMatmulShape.h"

namespace moec {

struct CudaMatmulBlock {
  CudaEmitter &e;
  const CudaMatmulShape &shape;
  mlir::Value numTokens = {};                                           // i64
  mlir::Value tid = {}, lane = {}, warpM = {}, warpN = {}, shared = {}; // i32 but shared; set by findThread

  void findThread();
  // Step `step` of the block: shared pointer to the side's rows of its slot, and the turn of the ring, i32.
  mlir::Value slotAddress(mlir::Value step, const SlotSide &side) const;
  mlir::Value turn(mlir::Value step) const { return e.div32(e.toI32(step), shape.stages); }
  // Byte offset in a side of chunk `chunk` of row `row`, both i32.
  mlir::Value chunkOffset(const SlotSide &side, mlir::Value row, mlir::Value chunk) const;
  mlir::Value fragmentRow(int64_t i) const;    // i64, row of the tile
  mlir::Value fragmentColumn(int64_t j) const; // i64, column of the tile
};

} // namespace moec

#endif
