// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step of depth: acc += A * B of a slot.
//
// Tensor cores, m16n8k16: a warp's tile is cut into 16 x 8 fragments; ldmatrix brings a 16 x 16 piece of A, or 16
// columns of B, with one instruction. With columns first the two change places: 16 columns of B are the instruction's
// rows and 8 rows of A its columns. tf32, m16n8k8: the same 32 bytes of a row are 8 elements. Of a side that is depth
// first, ldmatrix transposes every 8 x 8; elements of 4 bytes are loaded one by one. Otherwise FMA: lanes stand 4 x 8
// in the warp's tile, lane l at row l / 8, column l % 8, and hold every fourth row and every eighth column.

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

  // 16 rows from `row` on (i32, a multiple of 8) at step `depth` of 32 bytes, as the instruction's first operand, or
  // as two second ones; f32 rounded to tf32.
  Values firstPiece(const SlotSide &side, Value slot, Value row, int64_t depth);
  Values secondPieces(const SlotSide &side, Value slot, Value row, int64_t depth);
  Values loadPiece(const SlotSide &side, Value slot, Value row, Value chunk);
  Values loadLines(const SlotSide &side, Value slot, Value row, int64_t depth, bool first);
  Values rounded(const SlotSide &side, Values piece);
  Values multiplied(const Values &first, const Values &second, const Values &acc, llvm::ArrayRef<int64_t> at);
  Values loadDepth(const SlotSide &side, Value slot, Value row, int64_t first, int64_t count);
};

CudaMultiply::Values CudaMultiply::rounded(const SlotSide &side, Values piece) {
  if (side.element.isF32())
    for (Value &x : piece)
      x = e.roundTf32(x);
  return piece;
}

// Four pieces of 8 rows by 16 bytes, of the lanes' rows and chunks.
CudaMultiply::Values CudaMultiply::loadPiece(const SlotSide &side, Value slot, Value row, Value chunk) {
  return rounded(side, e.ldmatrix(e.at(slot, e.toI64(block.chunkOffset(side, row, chunk))), false));
}

// The same of a side that is depth first. Piece q of a first operand is half q % 2 of the rows and q / 2 of the depth;
// of second ones it is half q / 2 of the rows and q % 2 of the depth.
CudaMultiply::Values CudaMultiply::loadLines(const SlotSide &side, Value slot, Value row, int64_t depth, bool first) {
  int64_t perStep = 32 / side.elementBytes();
  if (!side.element.isF32()) {
    Value low = e.rem32(e.div32(block.lane, 8), 2), high = e.div32(block.lane, 16);
    Value half = first ? low : high, line = e.add(e.mul32(first ? high : low, 8), e.rem32(block.lane, 8));
    Value chunk = e.add(e.div32(row, 8), half);
    return e.ldmatrix(e.at(slot, e.toI64(block.chunkOffset(side, e.add32(line, perStep * depth), chunk))), true);
  }
  Values piece;
  for (int64_t q = 0; q < 4; ++q) {
    int64_t ofRows = first ? q % 2 : q / 2, ofDepth = first ? q / 2 : q % 2;
    Value line = e.add32(e.rem32(block.lane, 4), perStep * depth + 4 * ofDepth);
    Value own = e.add(e.add32(row, 8 * ofRows), e.div32(block.lane, 4));
    Value at = e.add(block.chunkOffset(side, line, e.div32(own, 4)), e.mul32(e.rem32(own, 4), 4));
    piece.push_back(e.load(e.i32(), e.at(slot, e.toI64(at)), 4));
  }
  return rounded(side, piece);
}

CudaMultiply::Values CudaMultiply::firstPiece(const SlotSide &side, Value slot, Value row, int64_t depth) {
  if (side.depthFirst)
    return loadLines(side, slot, row, depth, true);
  // lanes 0..15 name the 16 rows at depth 0..7, lanes 16..31 the same rows at depth 8..15
  return loadPiece(side, slot, e.add(row, e.rem32(block.lane, 16)), e.add32(e.div32(block.lane, 16), 2 * depth));
}

CudaMultiply::Values CudaMultiply::secondPieces(const SlotSide &side, Value slot, Value row, int64_t depth) {
  if (side.depthFirst)
    return loadLines(side, slot, row, depth, false);
  // lanes 0..7: rows 0..7 at depth 0..7; 8..15: the same at depth 8..15; 16..31: rows 8..15
  Value own = e.add(e.rem32(block.lane, 8), e.mul32(e.div32(block.lane, 16), 8));
  return loadPiece(side, slot, e.add(row, own), e.add32(e.rem32(e.div32(block.lane, 8), 2), 2 * depth));
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
  Value aRow = e.mul32(block.warpM, shape.rowsPerWarp()), bRow = e.mul32(block.warpN, shape.columnsPerWarp());
  for (int64_t depth = 0; depth < shape.a.rowBytes / 32; ++depth) {
    llvm::SmallVector<Values> aPieces;
    for (int64_t i = 0; i < rowTiles; ++i)
      aPieces.push_back(firstPiece(shape.a, aSlot, e.add32(aRow, 16 * i), depth));
    for (int64_t part = 0; part < shape.parts; ++part)
      for (int64_t pair = 0; pair < columnPairs; ++pair) {
        Values piece = secondPieces(shape.b, bSlot, e.add32(bRow, part * shape.columns() + 16 * pair), depth);
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
  Value bRow = e.mul32(block.warpN, shape.columnsPerWarp());
  for (int64_t depth = 0; depth < shape.a.rowBytes / 32; depth += 2) {
    llvm::SmallVector<Values> aPieces;
    for (int64_t i = 0; i < rowTiles; ++i)
      aPieces.push_back(loadPiece(shape.a, aSlot, e.add32(aRow, 8 * i), e.add32(aChunk, 2 * depth)));
    for (int64_t part = 0; part < shape.parts; ++part)
      for (int64_t j = 0; j < columnTiles; ++j)
        for (int64_t half = 0; half < 2; ++half) {
          Values piece = firstPiece(shape.b, bSlot, e.add32(bRow, part * shape.columns() + 16 * j), depth + half);
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
  if (side.depthFirst) {
    for (int64_t line = first; line < first + count; ++line) {
      Value offset = block.chunkOffset(side, e.c32(int32_t(line)), e.div32(row, side.perChunk()));
      offset = e.add(offset, e.mul32(e.rem32(row, side.perChunk()), side.elementBytes()));
      out.push_back(e.widen(e.load(side.element, e.at(slot, e.toI64(offset)), unsigned(side.elementBytes()))));
    }
    return out;
  }
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
