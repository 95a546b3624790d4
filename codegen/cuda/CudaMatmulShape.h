// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile.kernel of templates/kernels/cuda in -> what template and stage decide about its code, as constants.
//
// A slot of the ring holds block_m rows of A, then block_n rows of B (part 0's columns, part 1's), block_k elements
// each:
//
//     | slot 0: A rows | B rows | slot 1: A rows | B rows | ...
//
// A side that is depth first, as matrices [k][n] and both sides of an outer product are, holds block_k lines of all its
// rows. What wgmma reads of it comes in atoms of 64 rows, block_k lines of 128 bytes each.
//
// A thread's sums are a fragment of its warp's tile:
//
//     tensor cores   rows 16 i + lane/4 and + 8,     columns 8 j + 2 (lane%4) and + 1    (the D fragment of m16n8k16)
//     columns first  rows 8 i + 2 (lane%4) and + 1,  columns 16 j + lane/4 and + 8       (the same, transposed)
//     FMA            rows 4 i + lane/8,              columns 8 j + lane%8

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULSHAPE_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULSHAPE_H

#include "codegen/cuda/CudaEmitter.h"
#include "codegen/tile/TileDialect.h"

#include <optional>

namespace moec {

constexpr int64_t cudaWarpgroupThreads = 128;

// One operand's half of a slot. A line is what lies together: a row, or, depth first, one depth of all rows.
struct SlotSide {
  mlir::Type element;
  int64_t rows = 0, rowBytes = 0; // rows of a tile, bytes of a row's depth
  int64_t offset = 0;             // in the slot
  bool depthFirst = false;
  int64_t elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }
  int64_t depth() const { return rowBytes / elementBytes(); }
  int64_t lines() const { return depthFirst ? depth() : rows; }
  int64_t lineBytes() const { return depthFirst ? rows * elementBytes() : rowBytes; }
  int64_t chunks() const { return lineBytes() / 16; } // of a line
  int64_t perChunk() const { return 16 / elementBytes(); }
  int64_t bytes() const { return rows * rowBytes; }
};

constexpr int64_t atomRows = 64; // of a depth-first side for wgmma, 128 bytes

// What a kernel does before it waits for its predecessor.
enum class EarlyWork { Nothing = 1, Barriers = 2, Weights = 3 };

// How sums leave the kernel: to rows of the output, to the table of a share's partial sums, added to tokens' sums.
enum class SumsLeave { Stored, Shares, Tokens };

// Warps that copy beside warps that multiply (tile.roles). B comes by TMA.
struct RoleShape {
  int64_t consumers = 0;      // warpgroups
  int64_t lag = 0;            // steps between a copy of A and the word that it is there
  bool vacantReturns = false; // consumers without a row of the tile do not multiply
};

struct CudaMatmulShape {
  CudaMatmulShape() = default; // of a kernel without a template
  CudaMatmulShape(tile::KernelOp kernel, int64_t sm);

  int64_t n = 0, k = 0, parts = 1, aStride = 0, outStride = 0; // of the stage; strides in bytes
  int64_t matrices = 1;                                        // of B from one group to the next
  MatmulMode mode;
  tile::Access access =
      tile::Access::direct; // how rows of A arrive: direct, gathered through row_token, contiguous by TMA
  EarlyWork early = EarlyWork::Nothing;
  std::optional<RoleShape> roles;
  SlotSide a, b;
  int64_t stages = 0, kSteps = 0;   // slots; steps of a tile
  int64_t splits = 1;               // shares of the depth
  int64_t warpsM = 0, warpsN = 0;   // that multiply
  bool columnsFirst = false;        // weights are the wide operand of the tensor cores
  mlir::Region *prologue = nullptr; // of the template's copies, all the same
  mlir::ValueRange prologueOperands;

  bool gathered() const { return access == tile::Access::gathered; }
  bool byTma() const { return access == tile::Access::contiguous; }
  bool hasRoles() const { return roles.has_value(); }
  SumsLeave sumsLeave() const {
    return splits > 1 ? SumsLeave::Shares : mode.unordered ? SumsLeave::Tokens : SumsLeave::Stored;
  }
  // Two consumer warpgroups with 128 sums a thread need registers that the producer's threads do not. Kernels that have
  // enough anyway must not ask: ptxas ignores setmaxnreg where it is free to choose fewer, and says so (C7508).
  bool movesRegisters() const { return roles->consumers == 2 && b.rows > 192; }
  bool tensorCores() const { return a.element == b.element && (mode.tf32 || !a.element.isF32()); }
  bool waitsItself() const { return early != EarlyWork::Nothing; } // for its predecessor
  bool asksEarly() const { return early == EarlyWork::Weights; }
  int64_t earlySteps() const; // of the block's first tile

  int64_t threads() const { return cudaWarpThreads * warpsM * warpsN + (hasRoles() ? cudaWarpgroupThreads : 0); }
  int64_t copyThreads() const { return hasRoles() ? cudaWarpgroupThreads : threads(); } // the first of the block
  int64_t slotBytes() const { return a.bytes() + b.bytes(); }
  int64_t columns() const { return b.rows / parts; } // output columns of a tile
  int64_t tileColumns() const;                       // tiles of a row of tiles
  int64_t rowsPerWarp() const { return a.rows / warpsM; }
  int64_t columnsPerWarp() const { return columns() / warpsN; }

  int64_t copiesOf(const SlotSide &side) const; // of a thread
  bool copiesAsync() const;                     // rows of A start at multiples of 16 bytes; nothing computes on them
  int64_t paddedBytes() const;                  // of a line of B in memory
  int64_t matrixBytes() const { return (b.depthFirst ? k : n) * paddedBytes(); }

  // The thread's accumulators are in order (part, row, column).
  int64_t fragmentRows() const { return rowsPerWarp() / (tensorCores() && !columnsFirst ? 8 : 4); }
  int64_t fragmentColumns() const { return columnsPerWarp() / (tensorCores() && !columnsFirst ? 4 : 8); } // of a part
  int64_t columnDistance(int64_t j) const { return tensorCores() && !columnsFirst ? 8 * (j / 2) + j % 2 : 8 * j; }
  int64_t accumulators() const { return parts * fragmentRows() * fragmentColumns(); }
  int64_t accumulatorIndex(int64_t part, int64_t i, int64_t j) const {
    return (part * fragmentRows() + i) * fragmentColumns() + j;
  }
};

} // namespace moec

#endif
