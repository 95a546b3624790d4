// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step of depth: acc += A * B of a slot.
//
// Tensor cores, m16n8k16: a warp's tile is cut into 16 x 8 fragments; ldmatrix brings a 16 x 16 piece of A, or 16 columns
// of B, with one instruction. Otherwise FMA: lanes stand 4 x 8 in the warp's tile, lane l at row l / 8, column l % 8, and
// hold every fourth row and every eighth column.

#include "codegen/cuda/CudaMatmulLowering.h"

#include <algorithm>

using namespace mlir;

namespace moec {

CudaMatmulLowering::Values CudaMatmulLowering::multiply(const Values &acc, Value step) {
  Values sums = acc;
  Value aSlot = slotAddress(step, a), bSlot = slotAddress(step, b);
  if (tensorCores())
    multiplyTensor(sums, aSlot, bSlot);
  else
    multiplyFma(sums, aSlot, bSlot);
  return sums;
}

void CudaMatmulLowering::multiplyTensor(Values &acc, Value aSlot, Value bSlot) {
  int64_t rowTiles = rowsPerWarp() / 16, columnPairs = columnsPerWarp() / 16;
  // lanes 0..15 name the 16 rows of A at depth 0..7, lanes 16..31 the same rows at depth 8..15
  Value aRow = e.add(mul32(warpM, rowsPerWarp()), rem32(lane, 16)), aChunk = div32(lane, 16);
  // lanes 0..7: columns 0..7 of B at depth 0..7; 8..15: the same at depth 8..15; 16..31: columns 8..15
  Value bRow = e.add(mul32(warpN, columnsPerWarp()), e.add(rem32(lane, 8), mul32(div32(lane, 16), 8)));
  Value bChunk = rem32(div32(lane, 8), 2);
  for (int64_t depth = 0; depth < a.rowBytes / 32; ++depth) {
    llvm::SmallVector<Values> aPieces;
    for (int64_t i = 0; i < rowTiles; ++i) {
      Value offset = chunkOffset(a, add32(aRow, 16 * i), add32(aChunk, 2 * depth));
      aPieces.push_back(e.ldmatrix(e.at(aSlot, e.toI64(offset)), false));
    }
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t pair = 0; pair < columnPairs; ++pair) {
        Value offset = chunkOffset(b, add32(bRow, part * columns() + 16 * pair), add32(bChunk, 2 * depth));
        Values piece = e.ldmatrix(e.at(bSlot, e.toI64(offset)), false);
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t i = 0; i < rowTiles; ++i) {
            int64_t column = 2 * (2 * pair + half); // of the thread's fragment columns
            int64_t at[] = {accumulatorIndex(part, 2 * i, column), accumulatorIndex(part, 2 * i, column + 1),
                            accumulatorIndex(part, 2 * i + 1, column), accumulatorIndex(part, 2 * i + 1, column + 1)};
            Values c = {acc[size_t(at[0])], acc[size_t(at[1])], acc[size_t(at[2])], acc[size_t(at[3])]};
            Values d = e.mma(a.element, aPieces[size_t(i)], {piece[size_t(2 * half)], piece[size_t(2 * half + 1)]}, c);
            for (int64_t r = 0; r < 4; ++r)
              acc[size_t(at[r])] = d[size_t(r)];
          }
      }
  }
}

// `count` elements of a slot's row from depth `first`, as f32; both whole chunks.
CudaMatmulLowering::Values CudaMatmulLowering::loadDepth(const Side &side, Value slot, Value row, int64_t first,
                                                         int64_t count) {
  Values out;
  for (int64_t at = first; at < first + count; at += side.perChunk()) {
    Value offset = chunkOffset(side, row, e.c32(int32_t(at / side.perChunk())));
    Value chunk = e.load(e.vec(side.element, side.perChunk()), e.at(slot, e.toI64(offset)), 16);
    for (int64_t l = 0; l < side.perChunk(); ++l)
      out.push_back(e.widen(vector::ExtractOp::create(e.b, e.loc, chunk, ArrayRef<int64_t>{l}).getResult()));
  }
  return out;
}

void CudaMatmulLowering::multiplyFma(Values &acc, Value aSlot, Value bSlot) {
  int64_t depth = a.rowBytes / a.elementBytes(), group = std::max(a.perChunk(), b.perChunk());
  for (int64_t first = 0; first < depth; first += group) {
    llvm::SmallVector<Values> aRows, bRows; // [row][depth], [part * columns + column][depth]
    for (int64_t i = 0; i < fragmentRows(); ++i)
      aRows.push_back(loadDepth(a, aSlot, e.toI32(fragmentRow(i)), first, group));
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t j = 0; j < fragmentColumns(); ++j)
        bRows.push_back(loadDepth(b, bSlot, add32(e.toI32(fragmentColumn(j)), part * columns()), first, group));
    for (int64_t l = 0; l < group; ++l)
      for (int64_t i = 0; i < fragmentRows(); ++i)
        for (int64_t part = 0; part < parts; ++part)
          for (int64_t j = 0; j < fragmentColumns(); ++j) {
            Value &sum = acc[size_t(accumulatorIndex(part, i, j))];
            sum = e.fma(aRows[size_t(i)][size_t(l)], bRows[size_t(part * fragmentColumns() + j)][size_t(l)], sum);
          }
  }
}

} // namespace moec
