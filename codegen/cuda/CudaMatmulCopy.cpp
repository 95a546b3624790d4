// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Global rows -> a slot of the ring. A thread copies the same chunk of the same rows at every step, so that what a copy
// costs inside the loop is one address and, in a last step that k does not fill, one byte count.

#include "codegen/cuda/CudaMatmulLowering.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {

int64_t CudaMatmulLowering::copiesOf(const Side &side) const {
  return int64_t(llvm::divideCeil(uint64_t(side.rows * side.chunks()), uint64_t(copyThreads())));
}

Value CudaMatmulLowering::copyRow(const Side &side, int64_t i) {
  return add32(div32(tid, side.chunks()), i * copyThreads() / side.chunks());
}

void CudaMatmulLowering::forCopy(const Side &side, int64_t i, llvm::function_ref<void()> body) {
  if ((i + 1) * copyThreads() <= side.rows * side.chunks())
    return body();
  e.when(e.compare(arith::CmpIPredicate::ult, copyRow(side, i), e.c32(int32_t(side.rows))), body);
}

// Rows of A start at multiples of 16 bytes and nothing computes on them.
bool CudaMatmulLowering::copiesAsync() { return shape("a_stride") % 16 == 0 && (!prologue || prologue->empty()); }

Value CudaMatmulLowering::tokenOf(Value row) {
  return e.toI64(e.load(e.i32(), e.at(*stage.rowToken, e.mul(row, 4)), 4));
}

// A row past the item uses the address of the item's first row; nothing is read through it.
void CudaMatmulLowering::findRows() {
  aSource = {};
  if (contiguous) // by TMA
    return;
  Value chunkOfA = e.mul(e.unsignedI64(rem32(tid, a.chunks())), 16);
  for (int64_t i = 0; i < copiesOf(a); ++i) {
    Value row = e.unsignedI64(copyRow(a, i)), present = e.less(row, tile.rows);
    row = e.add(tile.row0, e.select(present, row, e.c(0)));
    aSource.present.push_back(present);
    aSource.rows.push_back(row);
    if (gathered && mode.joined) // the other stage's rows are those of A
      row = e.select(tile.isSecond, row, tokenOf(e.select(tile.isSecond, e.c(0), row)));
    else if (gathered)
      row = tokenOf(row);
    aSource.pointers.push_back(e.at(e.at(stage.a, e.mul(row, shape("a_stride"))), chunkOfA));
  }
}

void CudaMatmulLowering::findWeights() {
  bSource = {};
  if (hasRoles()) // by TMA
    return;
  int64_t n = shape("n");
  Value chunkOfB = e.mul(e.unsignedI64(rem32(tid, b.chunks())), 16);
  for (int64_t i = 0; i < copiesOf(b); ++i) {
    Value row = copyRow(b, i), part = e.unsignedI64(div32(row, columns()));
    Value column = e.add(tile.column0, e.unsignedI64(rem32(row, columns())));
    Value present = e.less(column, e.c(n));
    if (b.rows * b.chunks() % copyThreads() != 0) // rows past the slot copy nothing, but their address is made
      present = e.both(present, e.less(part, e.c(parts)));
    Value matrix = e.add(e.mul(tile.group, parts), e.select(present, part, e.c(0)));
    Value source = e.add(e.mul(matrix, n), e.select(present, column, e.c(0)));
    bSource.present.push_back(present);
    bSource.pointers.push_back(e.at(e.at(stage.b, e.mul(source, paddedBytes())), chunkOfB));
  }
}

int64_t CudaMatmulLowering::paddedBytes() {
  int64_t unit = 16 / b.elementBytes();
  return int64_t(llvm::alignTo(uint64_t(shape("k")), uint64_t(unit))) * b.elementBytes();
}

Value CudaMatmulLowering::depthStep(Value step) { return splits > 1 ? e.add(tile.firstStep, step) : step; }

void CudaMatmulLowering::lowerCopy(tile::CopyOp op) {
  Value step = e.toI64(value(op.getStep()));
  e.when(e.less(step, e.c(kSteps)), [&] {
    copyA(depthStep(step), slotAddress(step, a));
    auto copyB = [&] { copyAsync(b, bSource, depthStep(step), slotAddress(step, b), paddedBytes()); };
    asksEarly() ? e.when(wasAsked(step), [] {}, copyB) : copyB();
  });
  e.cpAsyncCommit();
}

void CudaMatmulLowering::copyA(Value step, Value slot) {
  if (copiesAsync())
    copyAsync(a, aSource, step, slot, shape("k") * a.elementBytes());
  else
    copyThroughRegisters(step, slot);
}

// Bytes of the row that this chunk of this step still has, 0..16.
void CudaMatmulLowering::copyAsync(const Side &side, const Source &source, Value step, Value slot, int64_t depthBytes) {
  Value chunk = rem32(tid, side.chunks()), offset = e.mul(step, side.rowBytes), available = e.c32(16);
  if (depthBytes % (side.rowBytes * kSteps * splits)) { // the last step, or the last share, is not full
    Value left = e.sub(e.c(depthBytes), e.add(offset, e.mul(e.unsignedI64(chunk), 16)));
    available = e.toI32(e.minS(arith::MaxSIOp::create(e.b, e.loc, left, e.c(0)), e.c(16)));
    // nothing is read from a chunk past the end, and its address stays inside the row
    offset = e.select(e.less(e.c(0), left), offset, e.c(0));
  }
  for (int64_t i = 0; i < copiesOf(side); ++i)
    forCopy(side, i, [&] {
      Value to = e.at(slot, e.toI64(chunkOffset(side, copyRow(side, i), chunk)));
      e.cpAsync(to, e.at(source.pointers[size_t(i)], offset), e.select(source.present[size_t(i)], available, e.c32(0)));
    });
}

// Where rows begin at multiples of 16 bytes and k fills whole chunks, a chunk is read at once; else element by element:
// any stride, any depth. The prologue sees what exists; the rest is zero whatever it makes of zeros.
void CudaMatmulLowering::copyThroughRegisters(Value step, Value slot) {
  Value chunk = rem32(tid, a.chunks());
  int64_t size = a.elementBytes(), k = shape("k");
  bool whole = shape("a_stride") % 16 == 0 && k % a.perChunk() == 0;
  int64_t lanes = whole ? a.perChunk() : 1;
  Value first = e.add(e.mul(step, a.rowBytes / size), e.mul(e.unsignedI64(chunk), a.perChunk()));
  for (int64_t i = 0; i < copiesOf(a); ++i)
    forCopy(a, i, [&] {
      Values elements;
      Value row = aSource.rows[size_t(i)];
      Values operands = prologue->empty() ? Values() : rowOperands(prologueOperands, row);
      for (int64_t l = 0; l < a.perChunk(); l += lanes) {
        Value exists = e.both(aSource.present[size_t(i)], e.less(e.add(first, e.c(l)), e.c(k)));
        Value from = e.at(aSource.pointers[size_t(i)], e.add(e.mul(step, a.rowBytes), e.c(l * size)));
        Values run = loadOrZero(exists, from, lanes, operands);
        elements.append(run.begin(), run.end());
      }
      Value packed = vector::FromElementsOp::create(e.b, e.loc, e.vec(a.element, a.perChunk()), elements);
      e.store(packed, e.at(slot, e.toI64(chunkOffset(a, copyRow(a, i), chunk))), 16);
    });
}

// `lanes` elements of A behind the prologue, zeros where `exists` is false.
CudaMatmulLowering::Values CudaMatmulLowering::loadOrZero(Value exists, Value from, int64_t lanes,
                                                          const Values &operands) {
  auto within = [&](bool read) {
    return [&, read](OpBuilder &builder, Location) {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPoint(builder.getInsertionBlock(), builder.getInsertionPoint());
      Values run(static_cast<size_t>(lanes), Value());
      if (!read) {
        run.assign(size_t(lanes), arith::ConstantOp::create(e.b, e.loc, e.b.getFloatAttr(a.element, 0)).getResult());
      } else {
        unsigned bytes = unsigned(lanes * a.elementBytes());
        Value loaded = e.load(lanes == 1 ? a.element : Type(e.vec(a.element, lanes)), from, bytes);
        for (int64_t l = 0; l < lanes; ++l) {
          Value x =
              lanes == 1 ? loaded : vector::ExtractOp::create(e.b, e.loc, loaded, ArrayRef<int64_t>{l}).getResult();
          Values inputs = {x};
          inputs.append(operands);
          run[size_t(l)] = prologue->empty() ? x : e.inlineScalar(*prologue, inputs)[0];
        }
      }
      scf::YieldOp::create(e.b, e.loc, run);
    };
  };
  return Values(scf::IfOp::create(e.b, e.loc, exists, within(true), within(false)).getResults());
}

} // namespace moec
