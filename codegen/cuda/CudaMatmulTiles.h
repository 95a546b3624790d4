// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which rows and columns a block computes: tiles of the grid, whose rows come from a list of row blocks or follow from
// T, and the buffers that the tile under way reads and writes.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULTILES_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULTILES_H

#include "codegen/cuda/CudaArgs.h"
#include "codegen/cuda/CudaMatmulBlock.h"

namespace moec {

// enter() sets all values but step0 and isFirst, which the loop over tiles sets.
struct CudaTile {
  mlir::Value group, row0, rows; // i64
  mlir::Value column0;           // i64, first output column
  mlir::Value step0;             // roles: i64, steps of the block's earlier tiles
  mlir::Value isSecond;          // joined: i1, the tile belongs to the second stage
  mlir::Value share, firstStep;  // splits: i64, the tile's share of the depth and its first step
  mlir::Value isFirst;           // early weights: i1, the first tile of the block
};

// How the list is read: around the first-level cache before the kernel has waited for its predecessor.
enum class ListRead { Cached, Fresh };

class CudaMatmulTiles {
public:
  using Values = CudaEmitter::Values;

  CudaMatmulTiles(const CudaMatmulBlock &block, tile::KernelOp kernel) : block(block), kernel(kernel) {}

  CudaTile tile;
  CudaMatmulArgs<mlir::Value> args;
  MatmulArgs<mlir::Value> stage; // whose buffers the tile uses; a descriptor is chosen where it is used

  void bind(const CudaMatmulArgs<mlir::Value> &arguments);
  mlir::Value count(ListRead how = ListRead::Cached);             // i64, of the whole grid
  void enter(mlir::Value index, ListRead how = ListRead::Cached); // `tile` becomes that one, i64
  mlir::Value depthStep(mlir::Value step) const; // converts a step of the tile's share to one of the whole depth
  mlir::Value wasAsked(mlir::Value step) const;  // i1: early weights have asked for this step of the tile
  mlir::Value tokenOf(mlir::Value row) const;    // of the route, i64
  mlir::Value pointerOf(mlir::Value argument) const { return pointers.lookup(argument); } // of the kernel, by stage
  // Values of operands that do not depend on the column; null for the others.
  Values rowOperands(mlir::ValueRange operands, mlir::Value row) const;

private:
  void chooseStage();
  mlir::Value loadOfList(mlir::Type type, mlir::Value address, ListRead how) const;
  void loadTile(mlir::Value index, ListRead how);
  void loadItem(mlir::Value index, ListRead how);

  const CudaMatmulBlock &block;
  tile::KernelOp kernel;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = block.shape;
  llvm::DenseMap<mlir::Value, mlir::Value> pointers;
  mlir::Value firstItems; // i64, items of the first of two stages
};

} // namespace moec

#endif
