// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile's sums in -> the output, through the epilogue; or a table of partial sums, which a second kernel adds.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULSTORE_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULSTORE_H

#include "codegen/cuda/CudaMatmulTiles.h"

namespace moec {

class CudaMatmulResults {
public:
  using Values = CudaEmitter::Values;

  CudaMatmulResults(const CudaMatmulBlock &block, const CudaMatmulTiles &tiles) : block(block), tiles(tiles) {}

  void store(tile::StoreOp op, const Values &acc); // of the tile under way
  // Output `index`, one of T * n, from the partial sums of all shares.
  void addShares(tile::StoreOp op, mlir::Value index);

private:
  void storeRow(tile::StoreOp op, const Values &acc, int64_t i);
  void addRow(tile::StoreOp op, const Values &acc, int64_t i);
  void whenColumn(mlir::Value column, llvm::function_ref<void()> body); // runs body if the output has the column
  Values partsOf(const Values &acc, int64_t i, int64_t j);              // accumulator (i, j) of every part
  // What the epilogue makes of the sums of all parts, in the output's type.
  mlir::Value columnValue(tile::StoreOp op, Values sums, const Values &rowValues, mlir::Value group, mlir::Value row,
                          mlir::Value column);
  // CudaMatmulSplits.cpp
  void storePartials(const Values &acc);
  mlir::Value partialAt(mlir::Value share, mlir::Value row, mlir::Value column, int64_t part);

  const CudaMatmulBlock &block;
  const CudaMatmulTiles &tiles;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = block.shape;
};

} // namespace moec

#endif
