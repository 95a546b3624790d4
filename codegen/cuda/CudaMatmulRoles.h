// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Producer and consumers around a ring with mbarriers, behind its slots: full[s] at 16 s, empty[s] at 16 s + 8.
//
//     full[s]    arrivals: 128 producer threads, when their share of A is in shared memory and visible to wgmma, and
//                one with the bytes of B; where A comes by TMA too, one with the bytes of both. Step q completes phase
//                q / stages.
//     empty[s]   arrivals: one lane of every consumer warp, once wgmma of the step is done
//
// A wait for the phase before the first returns at once, which is how the producer finds its first slots empty.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULROLES_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULROLES_H

#include "codegen/cuda/CudaMatmulCopy.h"

namespace moec {

class CudaMatmulRoles {
public:
  using Values = CudaEmitter::Values;

  CudaMatmulRoles(const CudaMatmulBlock &block, const CudaMatmulTiles &tiles, CudaMatmulCopies &copies)
      : block(block), tiles(tiles), copies(copies) {}

  void initialiseBarriers(); // and prefetches descriptors

  // -- the producer; `step` is one of the tile, q of the block
  void fill(mlir::Value step);
  void flush(mlir::Value steps);        // of all tiles of the block
  void askForWeights(mlir::Value step); // ahead of the first tile, by one thread

  // -- consumers
  Values consume(const Values &acc, mlir::Value step);
  Values finish(const Values &acc);
  void returnSlots(); // without multiplying

private:
  mlir::Value barrier(mlir::Value step, bool full) const; // mbarrier of step `step` of the block, i64
  void loadByTma(mlir::Value step, mlir::Value q);
  void expectBytes(mlir::Value q);
  void loadRows(mlir::Value step, mlir::Value q);
  void loadWeights(mlir::Value step, mlir::Value q);
  void sayFull(mlir::Value step);
  Values permuted(const Values &acc, bool toInstruction);
  int64_t instructionIndex(int64_t part, int64_t i, int64_t j) const;
  Values multiplyAsync(Values sums, mlir::Value q);
  void giveBack(mlir::Value step);

  const CudaMatmulBlock &block;
  const CudaMatmulTiles &tiles;
  CudaMatmulCopies &copies;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = block.shape;
};

} // namespace moec

#endif
