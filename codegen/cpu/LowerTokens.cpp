// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels that look at all tokens of a scope: reductions of columns, and the inputs of slots. Tokens are summed in runs
// of 64, the runs after one another, so that the error of a sum grows with T/64 + 64 and not with T.

#include "codegen/cpu/LowerTokens.h"

#include "codegen/lower/KernelFunction.h"
#include "codegen/plan/StageArgs.h"

#include <cstddef>
#include <limits>

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t tokenRun = 64;

class TokensLowering {
public:
  TokensLowering(Operation *op, const IsaFacts &isa) : e(OpBuilder(op->getContext()), op->getLoc(), isa) {}

  // Of [T,N] values: to every token of the scope, or once for the whole call.
  void reduceColumns(RankedTensorType type, moe::TotalKind kind, bool sequences, bool total, ModuleOp module,
                     StringRef symbol);
  void slotInputs(moe::SlotInputsOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol);

private:
  using Values = Emitter::Values;
  static int64_t size(Type element) { return element.isBF16() ? 2 : 4; }

  Value callField(const KernelFunction &shell, size_t offset) {
    return e.load(e.i64(), e.at(shell.call, int64_t(offset)), 8);
  }
  Value number(double v, int64_t width) {
    return width > 1 ? e.constant(v, width)
                     : arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(float(v))).getResult();
  }
  Emitter e;
};

// Unit = scope * blocks + block of columns; every token of the scope gets the result, or out[n] of a total.
void TokensLowering::reduceColumns(RankedTensorType type, moe::TotalKind kind, bool sequences, bool total,
                                   ModuleOp module, StringRef symbol) {
  int64_t columns = type.getDimSize(1), blocks = (columns + tokenReduceBlock - 1) / tokenReduceBlock;
  bool sum = kind != moe::TotalKind::max, integers = type.getElementType().isInteger(32);
  KernelFunction shell(e, module, symbol);
  ColumnsArgs<Value> buffers = shell.bind(e, ColumnsArgs<Value>());
  Value from = buffers.values, to = buffers.out;
  Value tokens = callField(shell, sequences ? offsetof(moec_call, sequence_tokens) : offsetof(moec_call, num_tokens));
  auto join = [&](Value acc, Value x) -> Value {
    if (integers)
      return arith::AddIOp::create(e.b, e.loc, acc, x);
    if (sum)
      return e.addF(acc, x);
    Value larger = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OGT, x, acc);
    Value empty = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::UNO, acc, acc);
    return e.select(arith::OrIOp::create(e.b, e.loc, larger, empty), x, acc);
  };
  auto neutral = [&](int64_t width) -> Value {
    if (integers)
      return width > 1 ? e.constantI32(0, width) : e.c32(0);
    return number(sum ? 0 : std::numeric_limits<double>::quiet_NaN(), width);
  };
  e.loop(shell.first, shell.last, 1, [&](Value unit) {
    Value first = e.mul(e.divU(unit, blocks), tokens), begin = e.mul(e.remU(unit, blocks), tokenReduceBlock);
    Value end = e.minS(e.add(begin, e.c(tokenReduceBlock)), e.c(columns));
    auto run = [&](Value column, int64_t width) {
      Type loaded = width > 1 ? Type(e.vec(type.getElementType(), width)) : type.getElementType();
      auto at = [&](Value base, Value t) { return e.at(base, e.add(e.mul(t, columns * 4), e.mul(column, 4))); };
      auto step = [&](const Values &acc, Value t) -> Values { return {join(acc[0], e.load(loaded, at(from, t), 4))}; };
      Value reduced = e.foldInRuns(first, e.add(first, tokens), 1, tokenRun, {neutral(width)}, step, join)[0];
      if (kind == moe::TotalKind::mean) {
        Value n = arith::SIToFPOp::create(e.b, e.loc, e.f32(), tokens);
        reduced = arith::DivFOp::create(e.b, e.loc, reduced, width > 1 ? e.splat(n, width) : n);
      }
      if (total)
        e.store(reduced, e.at(to, e.mul(column, 4)), 4);
      else
        e.loop(first, e.add(first, tokens), 1, [&](Value t) { e.store(reduced, at(to, t), 4); });
    };
    int64_t lanes = e.isa.lanes;
    Value whole = e.add(begin, e.mul(e.divU(e.sub(end, begin), lanes), lanes));
    e.loop(begin, whole, lanes, [&](Value n) { run(n, lanes); });
    e.loop(whole, end, 1, [&](Value n) { run(n, 1); });
  });
  shell.finish(e);
}

// Row r reads tokens row_token[r] .. of its scope, weighted by w[t, row_slot[r]].
void TokensLowering::slotInputs(moe::SlotInputsOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol) {
  auto type = cast<RankedTensorType>(op.getType());
  Type element = type.getElementType();
  int64_t hidden = type.getDimSize(1), slots = cast<RankedTensorType>(op.getWeights().getType()).getDimSize(1);
  bool sequences = cast<moe::SlotsOp>(op.getRoute().getDefiningOp()).getScope() == moe::Scope::sequence;
  KernelFunction shell(e, module, symbol);
  SlotInputsArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  SlotInputsArgs<Value> buffers = shell.bind(e, strides);
  Value tokens = callField(shell, sequences ? offsetof(moec_call, sequence_tokens) : offsetof(moec_call, num_tokens));
  int64_t lanes = e.isa.lanes, run = lanes * std::max<int64_t>(1, e.isa.registers / 4);
  auto add = [&](Value a, Value b) { return e.addF(a, b); };
  e.loop(shell.first, shell.last, 1, [&](Value row) {
    auto entry = [&](Value table) { return e.toI64(e.load(e.b.getI32Type(), e.at(table, e.mul(row, 4)), 4)); };
    Value first = entry(buffers.rowToken), slot = entry(buffers.rowSlot);
    auto columns = [&](int64_t begin, int64_t end, int64_t step, int64_t width) {
      if (begin == end)
        return;
      e.loop(e.c(begin), e.c(end), step, [&](Value h) {
        Values zero(step / width, number(0, width));
        Values sums = e.foldInRuns(
            first, e.add(first, tokens), 1, tokenRun, zero,
            [&](const Values &acc, Value t) -> Values {
              Value weight = e.load(e.f32(), e.at(buffers.weights, e.mul(e.add(e.mul(t, slots), slot), 4)), 4);
              if (width > 1)
                weight = e.splat(weight, width);
              Value p = e.at(buffers.x, e.add(e.mul(t, strides.x), e.mul(h, size(element))));
              Values next;
              for (auto [i, a] : llvm::enumerate(acc)) {
                Type loaded = width > 1 ? Type(e.vec(element, width)) : element;
                Value v = e.load(loaded, e.at(p, int64_t(i) * width * size(element)), unsigned(size(element)));
                next.push_back(e.fma(weight, element.isBF16() ? e.fromBf16(v) : v, a));
              }
              return next;
            },
            add);
        Value to = e.at(buffers.out, e.add(e.mul(row, strides.out), e.mul(h, size(element))));
        for (auto [i, v] : llvm::enumerate(sums))
          e.store(element.isBF16() ? e.toBf16(v) : v, e.at(to, int64_t(i) * width * size(element)),
                  unsigned(size(element)));
      });
    };
    int64_t wide = hidden / run * run, vectors = hidden / lanes * lanes;
    columns(0, wide, run, lanes);
    columns(wide, vectors, lanes, lanes);
    columns(vectors, hidden, 1, 1);
  });
  shell.finish(e);
}

} // namespace

int64_t lowerTokenReduce(moe::TokenReduceOp op, const IsaFacts &isa, ModuleOp module, StringRef symbol) {
  bool sequences = op.getScope() == moe::Scope::sequence;
  TokensLowering(op, isa).reduceColumns(cast<RankedTensorType>(op.getType()), moe::totalOf(op.getKind()), sequences,
                                        /*total=*/false, module, symbol);
  return 0;
}

int64_t lowerTokenTotal(moe::TokenTotalOp op, const IsaFacts &isa, ModuleOp module, StringRef symbol) {
  TokensLowering(op, isa).reduceColumns(cast<RankedTensorType>(op.getInput().getType()), op.getKind(),
                                        /*sequences=*/false, /*total=*/true, module, symbol);
  return 0;
}

int64_t lowerSlotInputs(moe::SlotInputsOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                        StringRef symbol) {
  TokensLowering(op, isa).slotInputs(op, strides, module, symbol);
  return 0;
}

} // namespace moec
