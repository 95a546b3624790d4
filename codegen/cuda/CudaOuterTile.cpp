// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows are copied as 16 bytes at a time where they begin at multiples of 16 bytes, else element by element.

#include "codegen/cuda/CudaOuterTile.h"

#include "codegen/cuda/CudaMatmulMultiply.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;

namespace moec {

static constexpr int64_t multiprocessors = 132;

// A power of two, no wider than the columns need.
static int64_t blockColumns(int64_t columns, int64_t least, int64_t most) {
  return std::clamp<int64_t>(int64_t(llvm::PowerOf2Ceil(uint64_t(columns))), least, most);
}

// sm_90a     2-byte elements: wgmma, 64 or 128 x 64 .. 256, 64 rows a step, a warpgroup for 64 columns of A
// otherwise  2-byte elements: m16n8k16, 32 .. 128 squared, 32 rows a step
// f32        FMA, 32 or 64 squared, 16 rows a step
// Tiles are halved while they would leave multiprocessors without one.
CudaOuterTile::CudaOuterTile(Type element, int64_t m, int64_t n, int64_t groups, int64_t sm) {
  bool halves = !element.isF32();
  wgmma = halves && sm >= 90;
  int64_t least = wgmma ? 64 : 32, mostM = halves ? 128 : 64, mostN = wgmma ? 256 : mostM;
  int64_t blockM = blockColumns(m, least, mostM), blockN = blockColumns(n, least, mostN);
  auto tiles = [&] {
    return groups * int64_t(llvm::divideCeil(uint64_t(m), uint64_t(blockM))) *
           int64_t(llvm::divideCeil(uint64_t(n), uint64_t(blockN)));
  };
  while (tiles() < multiprocessors && std::max(blockM, blockN) > least)
    (blockN >= blockM ? blockN : blockM) /= 2;
  int64_t depth = wgmma ? 64 : halves ? 32 : 16;
  for (SlotSide *side : {&shape.a, &shape.b}) {
    side->element = element;
    side->rowBytes = depth * side->elementBytes();
    side->depthFirst = true;
  }
  shape.a.rows = blockM, shape.b.rows = blockN;
  shape.b.offset = shape.a.bytes();
  shape.n = n;
  shape.stages = 4;
  shape.warpsM = wgmma ? blockM / 16 : blockM >= 64 ? 2 : 1;
  shape.warpsN = wgmma ? 1 : std::min<int64_t>(4, blockN / 16);
}

// Atoms of 8 chunks for wgmma, else whole lines.
Value CudaOuterSlots::place(const SlotSide &side, Value line, Value chunk) const {
  if (!tile.wgmma)
    return e.toI64(block.chunkOffset(side, line, chunk));
  Value key = arith::AndIOp::create(e.b, e.loc, line, e.c32(7));
  Value within = arith::XOrIOp::create(e.b, e.loc, e.rem32(chunk, 8), key);
  Value atom = e.mul32(e.div32(chunk, 8), atomRows * side.rowBytes);
  return e.toI64(e.add(atom, e.add(e.mul32(line, 128), e.mul32(within, 16))));
}

void CudaOuterSlots::copy(const SlotSide &side, const CudaOuterSource &source, const CudaOuterRows &rows, Value step) {
  int64_t threads = shape.threads(), chunks = side.chunks(), size = side.elementBytes();
  int64_t count = int64_t(llvm::divideCeil(uint64_t(side.lines() * chunks), uint64_t(threads)));
  Value slot = block.slotAddress(step, side);
  Value chunk = e.rem32(block.tid, chunks), line0 = e.div32(block.tid, chunks);
  Value column = e.add(source.column0, e.mul(e.unsignedI64(chunk), side.perChunk()));
  Value bytesLeft = e.mul(e.sub(e.c(source.columns), column), size);
  Value inRow = e.less(e.c(0), bytesLeft);
  Value at = e.select(inRow, e.mul(column, size), e.c(0)); // addresses stay inside the row
  for (int64_t i = 0; i < count; ++i) {
    Value line = e.add32(line0, i * threads / chunks);
    auto copyLine = [&] {
      Value row = e.add(rows.first, e.add(e.mul(step, tile.depth()), e.unsignedI64(line)));
      Value there = e.less(row, rows.last), present = e.both(there, inRow);
      Value from = e.select(there, row, rows.first);
      if (source.tokens)
        from = e.toI64(e.load(e.i32(), e.at(*source.tokens, e.mul(from, 4)), 4));
      Value to = e.at(slot, place(side, line, chunk)), address = e.at(source.base, e.mul(from, source.stride));
      if (source.stride % 16)
        return e.store(elements(side, source, address, column, present), to, 16);
      Value bytes = e.toI32(e.minS(bytesLeft, e.c(16)));
      e.cpAsync(to, e.at(address, at), e.select(present, bytes, e.c32(0)));
    };
    if ((i + 1) * threads <= side.lines() * chunks)
      copyLine();
    else
      e.when(e.compare(arith::CmpIPredicate::ult, line, e.c32(int32_t(side.lines()))), copyLine);
  }
}

// A chunk of a row that begins anywhere.
Value CudaOuterSlots::elements(const SlotSide &side, const CudaOuterSource &source, Value from, Value column,
                               Value present) {
  int64_t size = side.elementBytes();
  Values out;
  for (int64_t l = 0; l < side.perChunk(); ++l) {
    Value own = e.add(column, e.c(l)), exists = e.both(present, e.less(own, e.c(source.columns)));
    Value address = e.at(from, e.mul(e.select(exists, own, e.c(0)), size));
    Value x = e.load(side.element, address, unsigned(size));
    Value zero = arith::ConstantOp::create(e.b, e.loc, e.b.getFloatAttr(side.element, 0));
    out.push_back(e.select(exists, x, zero));
  }
  return vector::FromElementsOp::create(e.b, e.loc, e.vec(side.element, side.perChunk()), out);
}

CudaOuterSlots::Values CudaOuterSlots::multiply(const Values &acc, Value step) {
  if (!tile.wgmma)
    return emitMultiply(block, acc, step);
  Value warpgroup = e.div32(block.warpM, 4);
  Value own = e.at(block.slotAddress(step, shape.a), e.toI64(e.mul32(warpgroup, atomRows * shape.a.rowBytes)));
  Value first = wgmmaDescriptor(e, shape.a, own),
        second = wgmmaDescriptor(e, shape.b, block.slotAddress(step, shape.b));
  Values sums = e.wgmmaFence(acc);
  for (int64_t d = 0; d < tile.depth() / 16; ++d)
    sums = e.wgmma(shape.b.rows, shape.a.element, sums, e.add(first, e.c(128 * d)), e.add(second, e.c(128 * d)),
                   e.c32(1), true, true);
  e.wgmmaCommit();
  return e.wgmmaWait(1, sums);
}

size_t CudaOuterSlots::sumAt(int64_t i, int64_t j) const {
  return size_t(tile.wgmma ? ((j / 2) * 2 + i) * 2 + j % 2 : shape.accumulatorIndex(0, i, j));
}

} // namespace moec
