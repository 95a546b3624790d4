// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The threads and the shared memory of a matmul kernel's block, as values of the kernel.
//
// Chunk c (16 bytes) of a line of a slot is stored at c ^ f(line), f = line & 7, (line >> 1) & 3 or (line >> 2) & 1 for
// lines of 8 and more, 4 or 2 chunks, so that eight consecutive lines cover all 32 banks whichever chunk is read.

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
  // Byte offset in a side of chunk `chunk` of line `line`, both i32.
  mlir::Value chunkOffset(const SlotSide &side, mlir::Value line, mlir::Value chunk) const;
  mlir::Value fragmentRow(int64_t i) const;    // i64, row of the tile
  mlir::Value fragmentColumn(int64_t j) const; // i64, column of the tile
};

// Descriptor for wgmma of lines of 128 bytes in 128-byte swizzle, from `address` (shared) on: start and the distance of
// 8 lines, 1024 bytes, in units of 16. Depth first it has the distance of atoms, too.
mlir::Value wgmmaDescriptor(CudaEmitter &e, const SlotSide &side, mlir::Value address);

} // namespace moec

#endif
