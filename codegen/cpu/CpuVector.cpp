// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The vector family: accumulators are rows x (32 / lanes) registers, A is broadcast from its packed f32 row, B is read
// as f32 or widened from VNNI pairs (even k = shift, odd k = mask). Serves AVX-512, AVX2 and baseline alike.

#include "codegen/cpu/CpuLowering.h"

using namespace mlir;

namespace moec {
namespace {

class CpuVector final : public CpuLowering {
public:
  CpuVector(tile::KernelOp kernel, const IsaFacts &isa) : CpuLowering(kernel, isa) {}

private:
  int64_t vectors() { return 32 / e.isa.lanes; }
  // f32 rows of whole lines, which vector stores fill to the end, and one line more: rows a multiple of 4 KiB apart
  // would share one cache set
  static int64_t rowBytes(tile::PackedType type) {
    return llvm::alignTo(integer(type.getKSteps()) * integer(type.getBlockK()) * 4, 64) + 64;
  }
  int64_t packedBytes(tile::PackedType type) override { return rowBytes(type) * integer(type.getPanelM()); }

  Accumulator zero(int64_t rows) override { return Accumulator(rows * vectors(), e.constant(0.0, e.isa.lanes)); }
  void saveAccumulator(const Accumulator &acc, int64_t rows, Value to) override {
    for (auto [i, v] : llvm::enumerate(acc))
      e.store(v, e.at(to, int64_t(i) * e.isa.lanes * 4), 16);
  }
  Accumulator loadAccumulator(int64_t rows, Value from) override {
    Accumulator acc;
    for (int64_t i = 0; i < rows * vectors(); ++i)
      acc.push_back(e.load(e.vecF32(), e.at(from, i * e.isa.lanes * 4), 16));
    return acc;
  }
  Accumulator mma(tile::MmaOp op, const Accumulator &acc) override;
  // NOTE: the branch around a shared prefetch must not follow the products. LLVM would sink them behind it, away from
  // their loads, and spill what was loaded: 50 instead of 57 % of the FMA peak (f32, AVX-512, T = 512, Zen 4).
  bool prefetchesFirst() override { return true; }
  void multiply(Accumulator &acc, int64_t rows, Value a, int64_t rowBytes, ArrayRef<Value> b);
  void multiplyPairs(Accumulator &acc, int64_t rows, Value a, int64_t rowBytes, Value b, int64_t depth,
                     int64_t firstTile, int64_t tiles);
  void pack(tile::PackOp op) override;
  void packRow(tile::PackOp op, Value from, Value to, Value row);
};

// acc[i][j] += a[i] * b[j]. Rows first while all of b fits beside the accumulators, else columns first.
void CpuVector::multiply(Accumulator &acc, int64_t rows, Value a, int64_t rowBytes, ArrayRef<Value> b) {
  int64_t nv = int64_t(b.size());
  auto broadcast = [&](int64_t i) { return e.splat(e.load(e.f32(), e.at(a, i * rowBytes), 4), e.isa.lanes); };
  if (rows * nv + nv + 1 <= int64_t(e.isa.registers)) {
    for (int64_t i = 0; i < rows; ++i) {
      Value x = broadcast(i);
      for (int64_t j = 0; j < nv; ++j)
        acc[i * nv + j] = e.fma(x, b[j], acc[i * nv + j]);
    }
    return;
  }
  SmallVector<Value> x;
  for (int64_t i = 0; i < rows; ++i)
    x.push_back(broadcast(i));
  for (int64_t j = 0; j < nv; ++j)
    for (int64_t i = 0; i < rows; ++i)
      acc[i * nv + j] = e.fma(x[i], b[j], acc[i * nv + j]);
}

CpuLowering::Accumulator CpuVector::mma(tile::MmaOp op, const Accumulator &acc) {
  auto a = cast<tile::PackedType>(op.getA().getType());
  auto b = cast<tile::PanelsType>(op.getB().getType());
  int64_t rows = integer(a.getBlockM()), lanes = e.isa.lanes, depth = integer(b.getBlockK());
  Value pa = e.at(value(op.getA()), e.mul(e.toI64(value(op.getRow())), rows * rowBytes(a)));
  pa = e.at(pa, e.mul(e.toI64(value(op.getStep())), depth * 4));
  Value pb = stepAddress(b, items[op.getItem()], value(op.getColumn()), value(op.getStep()));
  Accumulator out(acc);
  if (b.getElement().isF32()) {
    for (int64_t k = 0; k < depth; ++k) {
      SmallVector<Value> bv;
      for (int64_t j = 0; j < vectors(); ++j)
        bv.push_back(e.load(e.vecF32(), e.at(pb, k * 128 + j * lanes * 4), 16));
      multiply(out, rows, e.at(pa, k * 4), rowBytes(a), bv);
    }
    return out;
  }
  // Few rows are bound by memory and walk the step's two tiles one after the other, one linear stream; more rows are
  // bound by arithmetic and use each broadcast of A for both tiles.
  int64_t tiles = rows <= 4 ? 1 : 2;
  for (int64_t tile = 0; tile < 2; tile += tiles)
    multiplyPairs(out, rows, pa, rowBytes(a), pb, depth, tile, tiles);
  return out;
}

// acc += A * B over the pairs of k of one step, for `tiles` 16-column tiles from `firstTile` on. A loop, since
// unrolling 32 depths would dominate compile time.
void CpuVector::multiplyPairs(Accumulator &acc, int64_t rows, Value a, int64_t rowBytes, Value b, int64_t depth,
                              int64_t firstTile, int64_t tiles) {
  int64_t lanes = e.isa.lanes, nv = vectors(), first = firstTile * 16 / lanes, count = tiles * 16 / lanes;
  Accumulator part;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < count; ++j)
      part.push_back(acc[i * nv + first + j]);
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(depth / 2), e.c(1), ValueRange(part));
  {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Accumulator inner(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
    Value pair = loop.getInductionVar();
    Value line = e.at(b, e.mul(pair, 64)), px = e.at(a, e.mul(pair, 8));
    SmallVector<Value> raw;
    for (int64_t j = first; j < first + count; ++j)
      raw.push_back(e.load(e.vec(e.b.getI32Type(), lanes), e.at(line, j * lanes / 16 * 1024 + j * lanes % 16 * 4), 16));
    for (int64_t odd = 0; odd < 2; ++odd) {
      SmallVector<Value> bv;
      for (Value bits : raw) {
        Value half =
            odd ? arith::AndIOp::create(e.b, e.loc, bits, e.constantI32(int32_t(0xffff0000), lanes)).getResult()
                : arith::ShLIOp::create(e.b, e.loc, bits, e.constantI32(16, lanes)).getResult();
        bv.push_back(e.bitcast(half, e.vecF32()));
      }
      multiply(inner, rows, e.at(px, odd * 4), rowBytes, bv);
    }
    scf::YieldOp::create(e.b, e.loc, inner);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < count; ++j)
      acc[i * nv + first + j] = loop.getResult(unsigned(i * count + j));
}

void CpuVector::pack(tile::PackOp op) {
  auto type = cast<tile::PackedType>(op.getDest().getType());
  auto source = cast<tile::RowsType>(op.getSource().getType());
  int64_t bytes = rowBytes(type), rows = integer(type.getBlockM());
  Value base = value(op.getDest());
  auto slot = [&](Value m, Value i) { return e.at(base, e.mul(e.add(e.mul(m, rows), i), bytes)); };
  forPackedRows(
      type,
      [&](Value m, Value i, Value row) {
        Value from = rowPointer(source, value(op.getSource()), e.add(current.row0, row));
        packRow(op, from, slot(m, i), e.add(current.row0, row));
      },
      [&](Value m, Value i) {
        Value zeros = e.constant(0.0, e.isa.lanes), to = slot(m, i);
        e.loop(e.c(0), e.c(bytes), e.isa.lanes * 4, [&](Value at) { e.store(zeros, e.at(to, at), 16); });
      });
}

void CpuVector::packRow(tile::PackOp op, Value from, Value to, Value row) {
  auto type = cast<tile::PackedType>(op.getDest().getType());
  Type in = cast<tile::RowsType>(op.getSource().getType()).getElement();
  int64_t lanes = e.isa.lanes, size = in.isF32() ? 4 : 2, k = shape("k");
  int64_t whole = k / lanes * lanes, rest = k - whole, padded = integer(type.getKSteps()) * integer(type.getBlockK());
  auto convert = [&](Value source, Value column) {
    Value x;
    if (op.getPrologue().empty()) {
      x = e.loadAsF32(in, source, lanes);
    } else {
      SmallVector<Value> inputs = {e.load(e.vec(in, lanes), source, unsigned(size))};
      llvm::append_range(inputs, operandValues(op.getExtra(), current, row, column, lanes));
      x = e.inlineVectorised(op.getPrologue(), inputs, lanes)[0];
      if (cast<VectorType>(x.getType()).getElementType().isBF16())
        x = e.fromBf16(x);
    }
    return x;
  };
  e.loop(e.c(0), e.c(whole), lanes,
         [&](Value i) { e.store(convert(e.at(from, e.mul(i, size)), i), e.at(to, e.mul(i, 4)), 4); });
  // the depth past K is zero whatever the prologue makes of it
  for (int64_t i = whole; i < padded; i += lanes)
    e.store(e.constant(0.0, lanes), e.at(to, i * 4), 4);
  if (!rest)
    return;
  Value tail = e.stack(64);
  e.store(e.constantI32(0, 16), tail, 64);
  e.copy(tail, e.at(from, whole * size), rest * size);
  Value x = convert(tail, e.c(whole));
  e.store(x, tail, 64);
  e.copy(e.at(to, whole * 4), tail, rest * 4);
}

} // namespace

std::unique_ptr<CpuLowering> makeCpuVector(tile::KernelOp kernel, const IsaFacts &isa) {
  return std::make_unique<CpuVector>(kernel, isa);
}

} // namespace moec
