// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one lowerCudaMatmul() call. Private to codegen/cuda/CudaMatmul*.cpp.
//
// A slot of the ring holds block_m rows of A, then block_n rows of B (part 0's columns, part 1's), block_k elements
// each:
//
//     | slot 0: A rows | B rows | slot 1: A rows | B rows | ...
//
// Chunk c (16 bytes) of a row is stored at c ^ f(row), f = row & 7, (row >> 1) & 3 or (row >> 2) & 1 for rows of 8, 4
// or 2 chunks, so that eight consecutive rows cover all 32 banks whichever chunk is read.

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULLOWERING_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULLOWERING_H

#include "codegen/cuda/CudaMatmul.h"
#include "codegen/lower/TemplateWalk.h"

#include <algorithm>

namespace moec {

class CudaMatmulLowering : public TemplateWalk {
public:
  CudaMatmulLowering(tile::KernelOp kernel, int64_t sm);
  CudaMatmulFacts run(mlir::ModuleOp module, llvm::StringRef symbol);
  CudaKernelFacts runSums(mlir::ModuleOp module, llvm::StringRef symbol);
  void sumsWithin(const CudaEmitter &outer, CudaKernelShell &shell, const CudaMatmulArgs<mlir::Value> &arguments,
                  int64_t threads);

protected:
  bool lowerOp(mlir::Operation *op) override;

private:
  using Values = CudaEmitter::Values;

  // One operand's half of a slot.
  struct Side {
    mlir::Type element;
    int64_t rows = 0, rowBytes = 0; // rows of a slot, bytes of a row
    int64_t offset = 0;             // in the slot
    int64_t elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }
    int64_t chunks() const { return rowBytes / 16; }
    int64_t perChunk() const { return 16 / elementBytes(); }
  };
  // The current tile; for_tiles defines all values when it begins one.
  struct Tile {
    mlir::Value group, row0, rows; // i64
    mlir::Value column0;           // i64, first output column
    mlir::Value step0;             // roles: i64, steps of the block's earlier tiles
    mlir::Value isSecond;          // joined: i1, the tile belongs to the second stage
    mlir::Value share, firstStep;  // splits: i64, the tile's share of the depth and its first step
    mlir::Value isFirst;           // early weights: i1, the first tile of the block
  };
  // What a thread copies of one side: chunk `chunk` of rows tid/chunks + i * stride.
  struct Source {
    Values pointers; // global, at chunk `chunk` of step 0
    Values present;  // i1: the row exists
    Values rows;     // i64, row of the operation, for prologue operands; A only
  };

  int64_t shape(llvm::StringRef name);
  bool hasRoles() const { return consumers != 0; }
  int64_t threads() const { return cuda_warp_threads * warpsM * warpsN + (hasRoles() ? warpgroup_threads : 0); }
  int64_t copyThreads() const { return hasRoles() ? warpgroup_threads : threads(); } // the first of the block
  static constexpr int64_t warpgroup_threads = 128;
  int64_t columns() const { return b.rows / parts; } // output columns of a tile
  int64_t slotBytes() const { return a.rows * a.rowBytes + b.rows * b.rowBytes; }
  int64_t rowsPerWarp() const { return a.rows / warpsM; }
  int64_t columnsPerWarp() const { return columns() / warpsN; }
  bool tensorCores() const { return a.element == b.element && (mode.tf32 || !a.element.isF32()); }
  mlir::Value depthStep(mlir::Value step); // converts a step of the tile's share to one of the whole depth
  mlir::Value div32(mlir::Value x, int64_t y);
  mlir::Value rem32(mlir::Value x, int64_t y);
  mlir::Value add32(mlir::Value x, int64_t y);
  mlir::Value mul32(mlir::Value x, int64_t y);
  mlir::Value slotAddress(mlir::Value step, const Side &side); // shared pointer to the side's rows
  // Byte offset in a side of chunk `chunk` of row `row`, both i32.
  mlir::Value chunkOffset(const Side &side, mlir::Value row, mlir::Value chunk);

  // CudaMatmul.cpp
  void readTemplate();
  void begin(CudaKernelShell &shell, const CudaMatmulArgs<mlir::Value> &arguments);
  void chooseStage(); // selects the stage whose buffers the tile uses
  void lowerTiles(tile::ForTilesOp op);
  int64_t tileColumns();
  mlir::Value loadOfList(mlir::Type type, mlir::Value address);
  mlir::Value countTiles();          // i64, of the whole grid
  void enterTile(mlir::Value index); // `tile` becomes that one, i64
  void loadTile(mlir::Value index);
  void loadItem(mlir::Value index); // of the route's list

  // CudaMatmulEarly.cpp
  bool asksEarly() const { return early == 3; }
  int64_t earlySteps() const { return std::min(hasRoles() ? stages : stages - 1, kSteps); } // of the block's first tile
  void waitForPredecessor();
  void askForWeights();
  mlir::Value wasAsked(mlir::Value step); // i1: the weights of this step of the tile under way

  // CudaMatmulCopy.cpp
  void findRows();
  void findWeights();
  mlir::Value tokenOf(mlir::Value row);             // of the route, i64
  int64_t copiesOf(const Side &side) const;         // of a thread
  mlir::Value copyRow(const Side &side, int64_t i); // i32 row of the slot
  // Emits `body` for copy i, under a condition if not all threads have one.
  void forCopy(const Side &side, int64_t i, llvm::function_ref<void()> body);
  bool copiesAsync();
  int64_t paddedBytes(); // of a row of B in memory
  void lowerCopy(tile::CopyOp op);
  void copyA(mlir::Value step, mlir::Value slot); // `slot`: shared pointer
  void copyAsync(const Side &side, const Source &source, mlir::Value step, mlir::Value slot, int64_t depthBytes);
  void copyThroughRegisters(mlir::Value step, mlir::Value slot);
  Values loadOrZero(mlir::Value exists, mlir::Value from, int64_t lanes, const Values &operands);

  // CudaMatmulMultiply.cpp
  Values multiply(const Values &acc, mlir::Value step);
  void multiplyTensor(Values &acc, mlir::Value aSlot, mlir::Value bSlot);
  void multiplySwapped(Values &acc, mlir::Value aSlot, mlir::Value bSlot);
  Values loadPiece(const Side &side, mlir::Value slot, mlir::Value row, mlir::Value chunk);
  Values multiplied(const Values &first, const Values &second, const Values &acc, llvm::ArrayRef<int64_t> at);
  void multiplyFma(Values &acc, mlir::Value aSlot, mlir::Value bSlot);
  Values loadDepth(const Side &side, mlir::Value slot, mlir::Value row, int64_t first, int64_t count);

  // CudaMatmulRoles.cpp
  mlir::Value barrier(mlir::Value step, bool full); // mbarrier of step `step` of the block, i64
  mlir::Value turn(mlir::Value step);               // i32, of its slot
  void lowerRoles(tile::RolesOp op);
  void initialiseBarriers();
  void lowerFill(tile::FillOp op);
  void loadByTma(mlir::Value step, mlir::Value q);
  void expectBytes(mlir::Value q);
  void loadRows(mlir::Value step, mlir::Value q);
  void loadWeights(mlir::Value step, mlir::Value q);
  bool returnsVacant(tile::ForTilesOp op) const; // of the consumers' loop
  void returnSlots();
  void sayFull(mlir::Value step);
  void lowerFlush();
  Values consume(const Values &acc, mlir::Value step);
  Values finish(const Values &acc);
  Values permuted(const Values &acc, bool toInstruction);
  int64_t instructionIndex(int64_t part, int64_t i, int64_t j) const;
  Values multiplyAsync(Values sums, mlir::Value q);
  void giveBack(mlir::Value step);

  // CudaMatmulStore.cpp: the thread's accumulators in order (part, row, column), rows and columns of its fragment
  int64_t fragmentRows() const;
  int64_t fragmentColumns() const;         // of one part
  mlir::Value fragmentRow(int64_t i);      // i64, row of the tile
  mlir::Value fragmentColumn(int64_t j);   // i64, column of the tile
  int64_t columnDistance(int64_t j) const; // from fragment column 0
  int64_t accumulatorIndex(int64_t part, int64_t i, int64_t j) const;
  void lowerStore(tile::StoreOp op);
  void storeRow(tile::StoreOp op, const Values &acc, int64_t i);
  void addRow(tile::StoreOp op, const Values &acc, int64_t i);
  void whenColumn(mlir::Value column, llvm::function_ref<void()> body); // runs body if the output has the column
  Values rowOperands(mlir::ValueRange operands, mlir::Value row);
  Values partsOf(const Values &acc, int64_t i, int64_t j); // accumulator (i, j) of every part
  mlir::Value columnValue(tile::StoreOp op, Values sums, const Values &rowValues, mlir::Value row, mlir::Value column);

  // CudaMatmulSplits.cpp
  mlir::Value partialAt(mlir::Value share, mlir::Value row, mlir::Value column, int64_t part);
  void storePartials(const Values &acc);
  void addShares(mlir::Value index);
  void addShares(tile::StoreOp op, mlir::Value index);

  CudaEmitter e;
  tile::KernelOp kernel;
  int64_t sm, stages = 0, warpsM = 0, warpsN = 0, parts = 1, kSteps = 0;
  Side a, b;
  MatmulMode mode;
  int64_t splits = 1; // shares of the depth
  bool gathered = false, columnsFirst = false;
  bool contiguous = false;          // rows of A by TMA
  int64_t consumers = 0, lag = 0;   // of tile.roles; 0 without
  int64_t early = 1;                // of the kernel: 1, 2 or 3
  bool beforeWait = false;          // what is emitted runs before the wait for the predecessor
  bool vacantReturns = false;       // consumers without a row of the tile do not multiply
  mlir::Region *prologue = nullptr; // of the template's copies, all the same
  mlir::ValueRange prologueOperands;

  CudaMatmulArgs<mlir::Value> args;
  MatmulArgs<mlir::Value> stage; // whose buffers the tile uses
  mlir::Value numTokens;
  mlir::Value tid, lane, warpM, warpN, shared; // i32 but shared
  mlir::Value firstItems;                      // i64, items of the first of two stages
  mlir::Value steps;                           // i64, steps of all tiles of the block, after the loop over them
  Tile tile;
  Source aSource, bSource;
};

} // namespace moec

#endif
