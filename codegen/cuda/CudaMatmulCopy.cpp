// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Global rows -> a slot of the ring. A thread copies the same chunk of the same rows at every step, so that what a copy
// costs inside the loop is one address and, in a last step that k does not fill, one byte count.

#include "codegen/cuda/CudaMatmulCopy.h"

using namespace mlir;

namespace moec {

Value CudaMatmulCopies::copyLine(const SlotSide &side, int64_t i) {
  if (linesAreLong(side))
    return e.div32(e.add32(block.tid, i * shape.copyThreads()), side.chunks());
  return e.add32(e.div32(block.tid, side.chunks()), i * shape.copyThreads() / side.chunks());
}

Value CudaMatmulCopies::copyChunk(const SlotSide &side, int64_t i) {
  return e.rem32(linesAreLong(side) ? e.add32(block.tid, i * shape.copyThreads()) : block.tid, side.chunks());
}

void CudaMatmulCopies::forCopy(const SlotSide &side, int64_t i, llvm::function_ref<void()> body) {
  if ((i + 1) * shape.copyThreads() <= side.lines() * side.chunks())
    return body();
  e.when(e.compare(arith::CmpIPredicate::ult, copyLine(side, i), e.c32(int32_t(side.lines()))), body);
}

// A row past the item uses the address of the item's first row; nothing is read through it.
void CudaMatmulCopies::findRows() {
  aSource = {};
  if (shape.byTma())
    return;
  Value chunkOfA = e.mul(e.unsignedI64(e.rem32(block.tid, shape.a.chunks())), 16);
  for (int64_t i = 0; i < shape.copiesOf(shape.a); ++i) {
    Value row = e.unsignedI64(copyLine(shape.a, i)), present = e.less(row, tiles.tile.rows);
    row = e.add(tiles.tile.row0, e.select(present, row, e.c(0)));
    aSource.present.push_back(present);
    aSource.rows.push_back(row);
    if (shape.gathered() && shape.mode.joined) // the other stage's rows are those of A
      row = e.select(tiles.tile.isSecond, row, tiles.tokenOf(e.select(tiles.tile.isSecond, e.c(0), row)));
    else if (shape.gathered())
      row = tiles.tokenOf(row);
    aSource.pointers.push_back(e.at(e.at(tiles.stage.a, e.mul(row, shape.aStride)), chunkOfA));
  }
}

void CudaMatmulCopies::findWeights() {
  bSource = {};
  if (shape.hasRoles()) // by TMA
    return;
  if (shape.b.depthFirst)
    return findLines();
  int64_t n = shape.n;
  Value chunkOfB = e.mul(e.unsignedI64(e.rem32(block.tid, shape.b.chunks())), 16);
  for (int64_t i = 0; i < shape.copiesOf(shape.b); ++i) {
    Value row = copyLine(shape.b, i), part = e.unsignedI64(e.div32(row, shape.columns()));
    Value column = e.add(tiles.tile.column0, e.unsignedI64(e.rem32(row, shape.columns())));
    Value present = e.less(column, e.c(n));
    // rows past the slot copy nothing, but their address is made
    if (shape.b.rows * shape.b.chunks() % shape.copyThreads() != 0)
      present = e.both(present, e.less(part, e.c(shape.parts)));
    Value matrix = e.add(e.mul(tiles.tile.group, shape.matrices), e.select(present, part, e.c(0)));
    Value source = e.add(e.mul(matrix, n), e.select(present, column, e.c(0)));
    bSource.present.push_back(present);
    bSource.pointers.push_back(e.at(e.at(tiles.stage.b, e.mul(source, shape.paddedBytes())), chunkOfB));
  }
}

// A thread's chunk of depth 0 of the matrix of each part; the tile's columns of a part are neighbours in a line of the
// slot. A chunk past the end of the line uses the address of the line's first.
void CudaMatmulCopies::findLines() {
  int64_t chunksOfPart = shape.b.chunks() / shape.parts, count = linesAreLong(shape.b) ? shape.copiesOf(shape.b) : 1;
  for (int64_t i = 0; i < count; ++i) {
    Value chunk = copyChunk(shape.b, i), part = e.unsignedI64(e.div32(chunk, chunksOfPart));
    Value at = e.mul(e.unsignedI64(e.rem32(chunk, chunksOfPart)), 16);
    at = e.add(at, e.mul(tiles.tile.column0, shape.b.elementBytes()));
    Value present = e.less(at, e.c(shape.paddedBytes()));
    Value matrix = e.mul(e.add(e.mul(tiles.tile.group, shape.matrices), part), shape.matrixBytes());
    bSource.present.push_back(present);
    bSource.pointers.push_back(e.at(tiles.stage.b, e.add(matrix, e.select(present, at, e.c(0)))));
  }
}

void CudaMatmulCopies::copyRows(Value step, Value slot) {
  if (shape.copiesAsync())
    copyAsync(shape.a, aSource, step, slot, shape.k * shape.a.elementBytes());
  else
    copyThroughRegisters(step, slot);
}

void CudaMatmulCopies::copyWeights(Value step, Value slot) {
  if (shape.b.depthFirst)
    return copyLines(step, slot);
  copyAsync(shape.b, bSource, step, slot, shape.paddedBytes());
}

// Bytes of the row that this chunk of this step still has, 0..16.
void CudaMatmulCopies::copyAsync(const SlotSide &side, const Source &source, Value step, Value slot,
                                 int64_t depthBytes) {
  Value chunk = e.rem32(block.tid, side.chunks()), offset = e.mul(step, side.rowBytes), available = e.c32(16);
  if (depthBytes % (side.rowBytes * shape.kSteps * shape.splits)) { // the last step, or the last share, is not full
    Value left = e.sub(e.c(depthBytes), e.add(offset, e.mul(e.unsignedI64(chunk), 16)));
    available = e.toI32(e.minS(arith::MaxSIOp::create(e.b, e.loc, left, e.c(0)), e.c(16)));
    // nothing is read from a chunk past the end, and its address stays inside the row
    offset = e.select(e.less(e.c(0), left), offset, e.c(0));
  }
  for (int64_t i = 0; i < shape.copiesOf(side); ++i)
    forCopy(side, i, [&] {
      Value to = e.at(slot, e.toI64(block.chunkOffset(side, copyLine(side, i), chunk)));
      e.cpAsync(to, e.at(source.pointers[size_t(i)], offset), e.select(source.present[size_t(i)], available, e.c32(0)));
    });
}

// Lines of B at the step's depths; those behind the last are zeros.
void CudaMatmulCopies::copyLines(Value step, Value slot) {
  Value first = e.mul(step, shape.b.depth());
  bool full = shape.k % (shape.b.depth() * shape.kSteps * shape.splits) == 0;
  for (int64_t i = 0; i < shape.copiesOf(shape.b); ++i)
    forCopy(shape.b, i, [&] {
      size_t source = linesAreLong(shape.b) ? size_t(i) : 0;
      Value line = copyLine(shape.b, i), depth = e.add(first, e.unsignedI64(line)), present = bSource.present[source];
      if (!full) {
        present = e.both(present, e.less(depth, e.c(shape.k)));
        depth = e.select(present, depth, e.c(0));
      }
      Value to = e.at(slot, e.toI64(block.chunkOffset(shape.b, line, copyChunk(shape.b, i))));
      e.cpAsync(to, e.at(bSource.pointers[source], e.mul(depth, shape.paddedBytes())),
                e.select(present, e.c32(16), e.c32(0)));
    });
}

// Where rows begin at multiples of 16 bytes and k fills whole chunks, a chunk is read at once; else element by element:
// any stride, any depth. The prologue sees what exists; the rest is zero whatever it makes of zeros.
void CudaMatmulCopies::copyThroughRegisters(Value step, Value slot) {
  Value chunk = e.rem32(block.tid, shape.a.chunks());
  int64_t size = shape.a.elementBytes(), k = shape.k;
  bool whole = shape.aStride % 16 == 0 && k % shape.a.perChunk() == 0;
  int64_t lanes = whole ? shape.a.perChunk() : 1;
  Value first = e.add(e.mul(step, shape.a.rowBytes / size), e.mul(e.unsignedI64(chunk), shape.a.perChunk()));
  for (int64_t i = 0; i < shape.copiesOf(shape.a); ++i)
    forCopy(shape.a, i, [&] {
      Values elements;
      Value row = aSource.rows[size_t(i)];
      Values operands = shape.prologue->empty() ? Values() : tiles.rowOperands(shape.prologueOperands, row);
      for (int64_t l = 0; l < shape.a.perChunk(); l += lanes) {
        Value exists = e.both(aSource.present[size_t(i)], e.less(e.add(first, e.c(l)), e.c(k)));
        Value from = e.at(aSource.pointers[size_t(i)], e.add(e.mul(step, shape.a.rowBytes), e.c(l * size)));
        Values run = loadOrZero(exists, from, lanes, operands);
        elements.append(run.begin(), run.end());
      }
      Value packed = vector::FromElementsOp::create(e.b, e.loc, e.vec(shape.a.element, shape.a.perChunk()), elements);
      e.store(packed, e.at(slot, e.toI64(block.chunkOffset(shape.a, copyLine(shape.a, i), chunk))), 16);
    });
}

// `lanes` elements of A behind the prologue, zeros where `exists` is false.
CudaMatmulCopies::Values CudaMatmulCopies::loadOrZero(Value exists, Value from, int64_t lanes, const Values &operands) {
  auto within = [&](bool read) {
    return [&, read](OpBuilder &builder, Location) {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPoint(builder.getInsertionBlock(), builder.getInsertionPoint());
      Values run(static_cast<size_t>(lanes), Value());
      if (!read) {
        run.assign(size_t(lanes),
                   arith::ConstantOp::create(e.b, e.loc, e.b.getFloatAttr(shape.a.element, 0)).getResult());
      } else {
        unsigned bytes = unsigned(lanes * shape.a.elementBytes());
        Value loaded = e.load(lanes == 1 ? shape.a.element : Type(e.vec(shape.a.element, lanes)), from, bytes);
        for (int64_t l = 0; l < lanes; ++l) {
          Value x =
              lanes == 1 ? loaded : vector::ExtractOp::create(e.b, e.loc, loaded, ArrayRef<int64_t>{l}).getResult();
          Values inputs = {x};
          inputs.append(operands);
          run[size_t(l)] = shape.prologue->empty() ? x : e.inlineScalar(*shape.prologue, inputs)[0];
        }
      }
      scf::YieldOp::create(e.b, e.loc, run);
    };
  };
  return Values(scf::IfOp::create(e.b, e.loc, exists, within(true), within(false)).getResults());
}

} // namespace moec
