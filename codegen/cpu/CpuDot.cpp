// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The family that multiplies bf16 pairs by vdpbf16ps: A stays bf16 when it is packed, a pair of it is broadcast as one
// 32-bit element, which the instruction reads from memory itself, and B is used as it lies.
//
//     acc[c] = fma(a[2k], b[2k, c], fma(a[2k+1], b[2k+1, c], acc[c]))     inputs and results below 2^-126 are zero
//
// That is the order of CpuVector.cpp, so both families give the same bits but for subnormal numbers. On Zen 4 the
// instruction equals the formula in 80 million random triples.

#include "codegen/cpu/CpuVector.h"

using namespace mlir;

namespace moec {
namespace {

class CpuDot final : public VectorAccumulators {
public:
  CpuDot(tile::KernelOp kernel, const IsaFacts &isa) : VectorAccumulators(kernel, isa, 2) {}

private:
  Accumulator mma(tile::MmaOp op, const Accumulator &acc) override;
  bool prefetchesFirst() override { return true; }
  Value packed(Value x) override { return cast<VectorType>(x.getType()).getElementType().isBF16() ? x : e.toBf16(x); }
  Value dot(Value acc, Value a, Value b) {
    auto op = LLVM::CallIntrinsicOp::create(
        e.b, e.loc, e.vecF32(), e.b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"), ValueRange{acc, a, b});
    return op.getResult(0);
  }
};

CpuLowering::Accumulator CpuDot::mma(tile::MmaOp op, const Accumulator &acc) {
  auto a = cast<tile::PackedType>(op.getA().getType());
  int64_t rows = block.rows, bytes = rowBytes(a);
  auto halves = [&](Value words) -> Value {
    return vector::BitCastOp::create(e.b, e.loc, e.vec(e.b.getBF16Type(), 32), words);
  };
  auto multiplyPair = [&](Accumulator &part, Value pair, ArrayRef<Value> b) {
    int64_t count = int64_t(b.size());
    for (int64_t i = 0; i < rows; ++i) {
      Value x = halves(e.splat(e.load(e.b.getI32Type(), e.at(pair, i * bytes), 4), 16));
      for (int64_t j = 0; j < count; ++j)
        part[i * count + j] = dot(part[i * count + j], halves(b[j]), x);
    }
  };
  return multiplyPairs(op, acc, multiplyPair);
}

} // namespace

std::unique_ptr<CpuLowering> makeCpuDot(tile::KernelOp kernel, const IsaFacts &isa) {
  return std::make_unique<CpuDot>(kernel, isa);
}

} // namespace moec
