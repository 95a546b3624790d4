// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Accumulators in vector registers, packed rows of A, the walk over pairs of k; and the family that multiplies by f32
// FMA: A is broadcast from its packed f32 row, B is read as f32 or widened from VNNI pairs (even k = shift, odd k =
// mask). Serves AVX-512, AVX2 and baseline alike.
//
// A pair of k is multiplied odd first, acc = fma(even, fma(odd, acc)), the order of vdpbf16ps: so a bf16 layer has the
// same bits with FMA and with dot products (CpuDot.cpp).

#include "codegen/cpu/CpuVector.h"

using namespace mlir;

namespace moec {

void VectorAccumulators::saveAccumulator(const Accumulator &acc, int64_t rows, Value to) {
  for (auto [i, v] : llvm::enumerate(acc))
    e.store(v, e.at(to, int64_t(i) * e.isa.lanes * 4), 16);
}

CpuLowering::Accumulator VectorAccumulators::loadAccumulator(int64_t rows, Value from) {
  Accumulator acc;
  for (int64_t i = 0; i < rows * vectors(); ++i)
    acc.push_back(e.load(e.vecF32(), e.at(from, i * e.isa.lanes * 4), 16));
  return acc;
}

std::pair<Value, Value> VectorAccumulators::stepOperands(tile::MmaOp op) {
  auto a = cast<tile::PackedType>(op.getA().getType());
  auto b = cast<tile::PanelsType>(op.getB().getType());
  Value pa = e.at(value(op.getA()), e.mul(block.first, rowBytes(a)));
  pa = e.at(pa, e.mul(e.toI64(value(op.getStep())), integer(b.getBlockK()) * packedSize));
  return {pa, stepAddress(b, items[op.getItem()], value(op.getColumn()), value(op.getStep()))};
}

CpuLowering::Accumulator VectorAccumulators::multiplyPairs(tile::MmaOp op, const Accumulator &acc,
                                                           MultiplyPair multiply) {
  auto [a, b] = stepOperands(op);
  int64_t tiles = op.getTiles().getSExtValue();
  Accumulator out(acc);
  for (int64_t tile = 0; tile < 2; tile += tiles)
    forPairs(op, out, a, b, tile, tiles, multiply);
  return out;
}

// Tile t of `tiles` at a time fetches the lines of its pairs: a step has depth/2 * 2/tiles pairs.
void VectorAccumulators::forPairs(tile::MmaOp op, Accumulator &acc, Value a, Value b, int64_t firstTile, int64_t tiles,
                                  MultiplyPair multiply) {
  int64_t rows = block.rows;
  int64_t depth = integer(cast<tile::PanelsType>(op.getB().getType()).getBlockK());
  int64_t lanes = e.isa.lanes, nv = vectors(), first = firstTile * 16 / lanes, count = tiles * 16 / lanes;
  std::optional<Fetch> fetch;
  for (auto prefetch : op->getBlock()->getOps<tile::PrefetchOp>())
    if (prefetch.getHint() != tile::Hint::none)
      fetch = planFetch(prefetch);
  int64_t pairsOfStep = depth / tiles, linesPerPair = fetch ? (fetch->lines + pairsOfStep - 1) / pairsOfStep : 0;
  Accumulator part;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < count; ++j)
      part.push_back(acc[i * nv + first + j]);
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(depth / 2), e.c(1), ValueRange(part));
  {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Accumulator inner(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
    Value pair = loop.getInductionVar(), line = e.at(b, e.mul(pair, 64));
    Value turn = e.add(pair, e.c(firstTile * depth / 2)); // of the step's pairs
    for (int64_t i = 0; i < linesPerPair; ++i)
      prefetchLine(
          *fetch,
          fetch->lines < pairsOfStep ? e.divU(e.mul(turn, fetch->lines), pairsOfStep) : e.mul(turn, linesPerPair), i);
    SmallVector<Value> pairs;
    for (int64_t j = first; j < first + count; ++j)
      pairs.push_back(
          e.load(e.vec(e.b.getI32Type(), lanes), e.at(line, j * lanes / 16 * 1024 + j * lanes % 16 * 4), 16));
    multiply(inner, e.at(a, e.mul(pair, 2 * packedSize)), pairs);
    scf::YieldOp::create(e.b, e.loc, inner);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < count; ++j)
      acc[i * nv + first + j] = loop.getResult(unsigned(i * count + j));
}

void VectorAccumulators::pack(tile::PackOp op) {
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

void VectorAccumulators::packRow(tile::PackOp op, Value from, Value to, Value row) {
  auto type = cast<tile::PackedType>(op.getDest().getType());
  Type in = cast<tile::RowsType>(op.getSource().getType()).getElement();
  int64_t lanes = e.isa.lanes, size = in.isF32() ? 4 : 2, k = shape("k");
  int64_t whole = k / lanes * lanes, rest = k - whole, padded = integer(type.getKSteps()) * integer(type.getBlockK());
  auto convert = [&](Value source, Value column) {
    Value x;
    if (op.getPrologue().empty()) {
      x = e.load(e.vec(in, lanes), source, unsigned(size));
    } else {
      SmallVector<Value> inputs = {e.load(e.vec(in, lanes), source, unsigned(size))};
      llvm::append_range(inputs, operandValues(op.getExtra(), current, row, column, lanes));
      x = e.inlineVectorised(op.getPrologue(), inputs, lanes)[0];
    }
    return packed(x);
  };
  e.loop(e.c(0), e.c(whole), lanes,
         [&](Value i) { e.store(convert(e.at(from, e.mul(i, size)), i), e.at(to, e.mul(i, packedSize)), 2); });
  Value zeros = packedSize == 4 ? e.constant(0.0, lanes) : e.toBf16(e.constant(0.0, lanes));
  // the depth past K is zero whatever the prologue makes of it
  for (int64_t i = whole; i < padded; i += lanes)
    e.store(zeros, e.at(to, i * packedSize), 2);
  if (!rest)
    return;
  Value tail = e.stack(64);
  e.store(e.constantI32(0, 16), tail, 64);
  e.copy(tail, e.at(from, whole * size), rest * size);
  Value x = convert(tail, e.c(whole));
  e.store(x, tail, 64);
  e.copy(e.at(to, whole * packedSize), tail, rest * packedSize);
}

namespace {

class CpuVector final : public VectorAccumulators {
public:
  CpuVector(tile::KernelOp kernel, const IsaFacts &isa) : VectorAccumulators(kernel, isa, 4) {}

private:
  Accumulator mma(tile::MmaOp op, const Accumulator &acc) override;
  // NOTE: the branch around a shared prefetch must not follow the products. LLVM would sink them behind it, away from
  // their loads, and spill what was loaded: 50 instead of 57 % of the FMA peak (f32, AVX-512, T = 512, Zen 4).
  bool prefetchesFirst() override { return true; }
  void multiply(Accumulator &acc, int64_t rows, Value a, int64_t rowBytes, ArrayRef<Value> b);
  Value packed(Value x) override { return cast<VectorType>(x.getType()).getElementType().isBF16() ? e.fromBf16(x) : x; }
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
  int64_t rows = block.rows, lanes = e.isa.lanes, depth = integer(b.getBlockK());
  if (b.getElement().isF32()) {
    auto [pa, pb] = stepOperands(op);
    Accumulator out(acc);
    for (int64_t k = 0; k < depth; ++k) {
      SmallVector<Value> bv;
      for (int64_t j = 0; j < vectors(); ++j)
        bv.push_back(e.load(e.vecF32(), e.at(pb, k * 128 + j * lanes * 4), 16));
      multiply(out, rows, e.at(pa, k * 4), rowBytes(a), bv);
    }
    return out;
  }
  auto multiplyPair = [&](Accumulator &part, Value pair, ArrayRef<Value> pairs) {
    for (int64_t odd : {1, 0}) {
      SmallVector<Value> bv;
      for (Value bits : pairs) {
        Value half =
            odd ? arith::AndIOp::create(e.b, e.loc, bits, e.constantI32(int32_t(0xffff0000), lanes)).getResult()
                : arith::ShLIOp::create(e.b, e.loc, bits, e.constantI32(16, lanes)).getResult();
        bv.push_back(e.bitcast(half, e.vecF32()));
      }
      multiply(part, rows, e.at(pair, odd * 4), rowBytes(a), bv);
    }
  };
  return multiplyPairs(op, acc, multiplyPair);
}

} // namespace

std::unique_ptr<CpuLowering> makeCpuVector(tile::KernelOp kernel, const IsaFacts &isa) {
  return std::make_unique<CpuVector>(kernel, isa);
}

} // namespace moec
