// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step of depth: acc += A * B of a slot.
//
// Tensor cores, m16n8k16: a warp's tile is cut into 16 x 8 fragments; ldmatrix brings a 16 x 16 piece of A, or 16
// columns of B, with one instruction. With columns first the two change places: 16 columns of B are the instruction's
// rows and 8 rows of A its columns. tf32, m16n8k8: the same 32 bytes of a row are 8 elements. Otherwise FMA: lanes
// stand 4 x 8 in the warp's tile, lane l at row l / 8, column l % 8, and hold every fourth row and every eighth column.

#include "codegen/cuda/CudaMatmulMultiply.h"

#include <algorithm>

using namespace mlir;

namespace moec {
namespace {

struct CudaMultiply {
  using Values = CudaEmitter::Values;
  const CudaMatmulBlock &block;
  CudaEmitter &e = block.e;
  const CudaMatmulShape &shape = block.shape;

  void tensor(Values &acc, Value aSlot, Value bSlot);
  void swapped(Values &acc, Value aSlot, Value bSlot);
  void fma(Values &acc, Value aSlot, Value bSlot);

  Values loadPiece(const SlotSide &side, Value slot, Value row, Value chunk);
  Values multiplied(const Values &first, const Values &second, const Values &acc, llvm::ArrayRef<int64_t> at);
  Values loadDepth(const SlotSide &side, Value slot, Value row, int64_t first, int64_t count);
};

// Four pieces of 8 rows by 16 bytes, of the lanes' rows and chunks; f32 rounded to tf32.
CudaMultiply::Values CudaMultiply::loadPiece(const SlotSide &side, Value slot, Value row, Value chunk) {
  Values piece = e.ldmatrix(e.at(slot, e.toI64(block.chunkOffset(side, row, chunk))), false);
  if (side.element.isF32())
    for (Value &x : piece)
      x = e.roundTf32(x);
  return piece;
}

// Sums number `at` of acc plus first * second, in the order of the instruction's result.
CudaMultiply::Values CudaMultiply::multiplied(const Values &first, const Values &second, const Values &acc,
                                              ArrayRef<int64_t> at) {
  Values c;
  for (int64_t index : at)
    c.push_back(acc[size_t(index)]);
  return e.mma(shape.a.element, first, second, c);
}

void CudaMultiply::tensor(Values &acc, Value aSlot, Value bSlot) {
  int64_t rowTiles = shape.rowsPerWarp() / 16, columnPairs = shape.columnsPerWarp() / 16;
  // lanes 0..15 name the 16 rows of A at depth 0..7, lanes 16..31 the same rows at depth 8..15
  Value aRow = e.add(e.mul32(block.warpM, shape.rowsPerWarp()), e.rem32(block.lane, 16)),
        aChunk = e.div32(block.lane, 16);
  // lanes 0..7: columns 0..7 of B at depth 0..7; 8..15: the same at depth 8..15; 16..31: columns 8..15
  Value bRow = e.add(e.mul32(block.warpN, shape.columnsPerWarp()),
                     e.add(e.rem32(block.lane, 8), e.mul32(e.div32(block.lane, 16), 8)));
  Value bChunk = e.rem32(e.div32(block.lane, 8), 2);
  for (int64_t depth = 0; depth < shape.a.rowBytes / 32; ++depth) {
    llvm::SmallVector<Values> aPieces;
    for (int64_t i = 0; i < rowTiles; ++i)
      aPieces.push_back(loadPiece(shape.a, aSlot, e.add32(aRow, 16 * i), e.add32(aChunk, 2 * depth)));
    for (int64_t part = 0; part < shape.parts; ++part)
      for (int64_t pair = 0; pair < columnPairs; ++pair) {
        Values piece =
            loadPiece(shape.b, bSlot, e.add32(bRow, part * shape.columns() + 16 * pair), e.add32(bChunk, 2 * depth));
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t i = 0; i < rowTiles; ++i) {
            int64_t column = 2 * (2 * pair + half); // of the thread's fragment columns
            int64_t at[] = {
                shape.accumulatorIndex(part, 2 * i, column), shape.accumulatorIndex(part, 2 * i, column + 1),
                shape.accumulatorIndex(part, 2 * i + 1, column), shape.accumulatorIndex(part, 2 * i + 1, column + 1)};
            Values d = multiplied(aPieces[size_t(i)], {piece[size_t(2 * half)], piece[size_t(2 * half + 1)]}, acc, at);
            for (int64_t r = 0; r < 4; ++r)
              acc[size_t(at[r])] = d[size_t(r)];
          }
      }
  }
}

// One ldmatrix brings 8 rows of A for two steps of depth.
void CudaMultiply::swapped(Values &acc, Value aSlot, Value bSlot) {
  int64_t rowTiles = shape.rowsPerWarp() / 8, columnTiles = shape.columnsPerWarp() / 16;
  Value aRow = e.add(e.mul32(block.warpM, shape.rowsPerWarp()), e.rem32(block.lane, 8)),
        aChunk = e.div32(block.lane, 8);
  Value bRow = e.add(e.mul32(block.warpN, shape.columnsPerWarp()), e.rem32(block.lane, 16)),
        bChunk = e.div32(block.lane, 16);
  for (int64_t depth = 0; depth < shape.a.rowBytes / 32; depth += 2) {
    llvm::SmallVector<Values> aPieces;
    for (int64_t i = 0; i < rowTiles; ++i)
      aPieces.push_back(loadPiece(shape.a, aSlot, e.add32(aRow, 8 * i), e.add32(aChunk, 2 * depth)));
    for (int64_t part = 0; part < shape.parts; ++part)
      for (int64_t j = 0; j < columnTiles; ++j)
        for (int64_t half = 0; half < 2; ++half) {
          Value row = e.add32(bRow, part * shape.columns() + 16 * j);
          Values piece = loadPiece(shape.b, bSlot, row, e.add32(bChunk, 2 * (depth + half)));
          for (int64_t i = 0; i < rowTiles; ++i) {
            const Values &rows = aPieces[size_t(i)];
            int64_t at[] = {shape.accumulatorIndex(part, 2 * i, 2 * j), shape.accumulatorIndex(part, 2 * i + 1, 2 * j),
                            shape.accumulatorIndex(part, 2 * i, 2 * j + 1),
                            shape.accumulatorIndex(part, 2 * i + 1, 2 * j + 1)};
            Values d = multiplied(piece, {rows[size_t(2 * half)], rows[size_t(2 * half + 1)]}, acc, at);
            for (int64_t r = 0; r < 4; ++r)
              acc[size_t(at[r])] = d[size_t(r)];
          }
        }
  }
}

// `count` elements of a slot's row from depth `first`, as f32; both whole chunks.
CudaMultiply::Values CudaMultiply::loadDepth(const SlotSide &side, Value slot, Value row, int64_t first,
                                             int64_t count) {
  Values out;
  for (int64_t at = first; at < first + count; at += side.perChunk()) {
    Value offset = block.chunkOffset(side, row, e.c32(int32_t(at / side.perChunk())));
    Value chunk = e.load(e.vec(side.element, side.perChunk()), e.at(slot, e.toI64(offset)), 16);
    for (int64_t l = 0; l < side.perChunk(); ++l)
      out.push_back(e.widen(vector::ExtractOp::create(e.b, e.loc, chunk, ArrayRef<int64_t>{l}).getResult()));
  }
  return out;
}

void CudaMultiply::fma(Values &acc, Value aSlot, Value bSlot) {
  int64_t depth = shape.a.rowBytes / shape.a.elementBytes(), group = std::max(shape.a.perChunk(), shape.b.perChunk());
  for (int64_t first = 0; first < depth; first += group) {
    llvm::SmallVector<Values> aRows, bRows; // [row][depth], [part * columns + column][depth]
    for (int64_t i = 0; i < shape.fragmentRows(); ++i)
      aRows.push_back(loadDepth(shape.a, aSlot, e.toI32(block.fragmentRow(i)), first, group));
    for (int64_t part = 0; part < shape.parts; ++part)
      for (int64_t j = 0; j < shape.fragmentColumns(); ++j)
        bRows.push_back(
            loadDepth(shape.b, bSlot, e.add32(e.toI32(block.fragmentColumn(j)), part * shape.columns()), first, group));
    for (int64_t l = 0; l < group; ++l)
      for (int64_t i = 0; i < shape.fragmentRows(); ++i)
        for (int64_t part = 0; part < shape.parts; ++part)
          for (int64_t j = 0; j < shape.fragmentColumns(); ++j) {
            Value &sum = acc[size_t(shape.accumulatorIndex(part, i, j))];
            sum = e.fma(aRows[size_t(i)][size_t(l)], bRows[size_t(part * shape.fragmentColumns() + j)][size_t(l)], sum);
          }
  }
}

} // namespace

CudaEmitter::Values emitMultiply(const CudaMatmulBlock &block, const CudaEmitter::Values &acc, Value step) {
  const CudaMatmulShape &shape = block.shape;
  CudaMultiply multiply = {block};
  CudaEmitter::Values sums = acc;
  Value aSlot = block.slotAddress(step, shape.a), bSlot = block.slotAddress(step, shape.b);
  if (shape.tensorCores() && shape.columnsFirst)
    multiply.swapped(sums, aSlot, bSlot);
  else if (shape.tensorCores())
    multiply.tensor(sums, aSlot, bSlot);
  else
    multiply.fma(sums, aSlot, bSlot);
  return sums;
}

} // namespace moec
