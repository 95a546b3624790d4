// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads of a block are columns times strands; strand i of a column reads tokens i, i + strands, ... in runs of 32,
// and the strands are joined in ascending order.

#include "codegen/cuda/CudaTokens.h"

#include "codegen/plan/StageArgs.h"

#include <limits>

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t threads = 256, tokenRun = 32, slotsPerBlock = 8;
using Values = CudaEmitter::Values;

class CudaTokens {
public:
  CudaTokens(Operation *op, int64_t sm) : e(OpBuilder(op->getContext()), op->getLoc()), sm(sm) {}

  // Of [T,N] values: to every token of the scope, or once for the whole call.
  CudaKernelFacts reduce(RankedTensorType type, moe::TotalKind kind, bool sequences, bool total, ModuleOp module,
                         StringRef symbol);
  CudaKernelFacts slotInputs(moe::SlotInputsOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol);
  CudaKernelFacts slots(moe::SlotsOp op, const std::vector<int64_t> &blockSizes, ModuleOp module, StringRef symbol);

private:
  Value divide(Value x, Value y) { return arith::DivUIOp::create(e.b, e.loc, x, y); }
  Value modulo(Value x, Value y) { return arith::RemUIOp::create(e.b, e.loc, x, y); }
  void storeWord(Value base, Value index, Value v) { e.store(e.toI32(v), e.at(base, e.mul(index, 4)), 4); }

  CudaEmitter e;
  int64_t sm;
};

CudaKernelFacts CudaTokens::reduce(RankedTensorType type, moe::TotalKind kind, bool sequences, bool total,
                                   ModuleOp module, StringRef symbol) {
  constexpr int64_t width = tokenReduceBlock, strands = threads / width;
  int64_t columns = type.getDimSize(1), blocks = (columns + width - 1) / width;
  bool sum = kind != moe::TotalKind::max, integers = type.getElementType().isInteger(32);
  Type element = type.getElementType();
  ColumnsArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm, {}, /*sequence=*/true);
  args = shell.bind(args);
  Value from = args.values, to = args.out, tokens = sequences ? shell.sequence() : shell.numTokens;
  auto join = [&](Value acc, Value x) -> Value {
    if (integers)
      return arith::AddIOp::create(e.b, e.loc, acc, x);
    if (sum)
      return e.addF(acc, x);
    Value larger = e.compare(arith::CmpFPredicate::OGT, x, acc);
    return e.select(e.either(larger, e.compare(arith::CmpFPredicate::UNO, acc, acc)), x, acc);
  };
  Value neutral = integers ? e.c32(0) : e.f(sum ? 0 : std::numeric_limits<double>::quiet_NaN());
  Value tid = e.unsignedI64(e.tid()), block = e.unsignedI64(e.ctaid());
  Value strand = e.divU(tid, width), own = e.remU(tid, width), n = e.add(e.mul(e.remU(block, blocks), width), own);
  Value first = e.mul(e.divU(block, blocks), tokens), end = e.add(first, tokens), live = e.less(n, e.c(columns));
  Value column = e.select(live, n, e.c(0)); // idle threads read what is there
  auto at = [&](Value base, Value t) { return e.at(base, e.mul(e.add(e.mul(t, columns), column), 4)); };
  auto step = [&](const Values &acc, Value t) -> Values { return {join(acc[0], e.load(element, at(from, t), 4))}; };
  Value part = e.foldInRuns(e.add(first, strand), end, strands, tokenRun, {neutral}, step, join)[0];
  auto place = [&](Value s) { return e.at(e.shared(), e.mul(e.add(e.mul(s, width), own), 4)); };
  e.store(part, place(strand), 4);
  e.barrier(0, threads);
  Value all = e.load(element, place(e.c(0)), 4);
  for (int64_t s = 1; s < strands; ++s)
    all = join(all, e.load(element, place(e.c(s)), 4));
  if (kind == moe::TotalKind::mean)
    all = e.div(all, arith::SIToFPOp::create(e.b, e.loc, e.f32(), tokens));
  if (total)
    e.when(e.both(live, e.equal(strand, e.c(0))), [&] { e.store(all, e.at(to, e.mul(column, 4)), 4); });
  else
    e.when(live, [&] { e.loop(e.add(first, strand), end, strands, [&](Value t) { e.store(all, at(to, t), 4); }); });
  shell.finish(e, threads);
  CudaKernelFacts facts = {threads, threads * 4, 1, 0, sequences ? 0 : blocks};
  facts.unitsPerSequence = sequences ? blocks : 0;
  return facts;
}

// Unit = (scope * slot blocks + slot block) * column parts + part. Rows of the 8 slots follow from the layout of a
// route of slots, so that its tables are not read.
CudaKernelFacts CudaTokens::slotInputs(moe::SlotInputsOp op, const RowStrides &rowStrides, ModuleOp module,
                                       StringRef symbol) {
  auto type = cast<RankedTensorType>(op.getType());
  auto route = cast<moe::RouteType>(op.getRoute().getType());
  Type element = type.getElementType();
  int64_t hidden = type.getDimSize(1), slots = route.getChoices(), each = slots / route.getGroups();
  int64_t parts = (hidden + threads - 1) / threads, blocks = (slots + slotsPerBlock - 1) / slotsPerBlock;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  bool sequences = cast<moe::SlotsOp>(op.getRoute().getDefiningOp()).getScope() == moe::Scope::sequence;
  SlotInputsArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  CudaKernelShell shell(e, module, symbol, countArgs(strides), sm, {}, /*sequence=*/true);
  SlotInputsArgs<Value> args = shell.bind(strides);
  Value tokens = sequences ? shell.sequence() : shell.numTokens, scopes = divide(shell.numTokens, tokens);
  Value block = e.unsignedI64(e.ctaid()), unit = e.divU(block, parts);
  Value h = e.add(e.mul(e.remU(block, parts), threads), e.unsignedI64(e.tid()));
  Value scope = e.divU(unit, blocks), slot0 = e.mul(e.remU(unit, blocks), slotsPerBlock);
  Value first = e.mul(scope, tokens);
  auto add = [&](Value a, Value b) { return e.addF(a, b); };
  e.when(e.both(e.less(scope, scopes), e.less(h, e.c(hidden))), [&] {
    Values own; // slots of this block; past the end the last one again
    for (int64_t i = 0; i < slotsPerBlock; ++i)
      own.push_back(e.minS(e.add(slot0, e.c(i)), e.c(slots - 1)));
    Values sums = e.foldInRuns(
        first, e.add(first, tokens), 1, tokenRun, Values(slotsPerBlock, e.f(0)),
        [&](const Values &acc, Value t) {
          Value v =
              e.widen(e.load(element, e.at(args.x, e.add(e.mul(t, strides.x), e.mul(h, bytes))), unsigned(bytes)));
          Values weights, next;
          for (Value s : own)
            weights.push_back(e.load(e.f32(), e.at(args.weights, e.mul(e.add(e.mul(t, slots), s), 4)), 4));
          for (auto [weight, a] : llvm::zip(weights, acc))
            next.push_back(e.fma(weight, v, a));
          return next;
        },
        add);
    for (int64_t i = 0; i < slotsPerBlock; ++i)
      e.when(e.less(e.add(slot0, e.c(i)), e.c(slots)), [&] {
        Value row = e.add(e.mul(e.add(e.mul(e.divU(own[i], each), scopes), scope), each), e.remU(own[i], each));
        e.store(e.narrow(sums[i], element), e.at(args.out, e.add(e.mul(row, strides.out), e.mul(h, bytes))),
                unsigned(bytes));
      });
  });
  shell.finish(e, threads);
  CudaKernelFacts facts = {threads, 0, 1, 0, sequences ? 0 : blocks * parts};
  facts.unitsPerSequence = sequences ? blocks * parts : 0;
  return facts;
}

// Threads of the grid stride over the entries of every table.
CudaKernelFacts CudaTokens::slots(moe::SlotsOp op, const std::vector<int64_t> &blockSizes, ModuleOp module,
                                  StringRef symbol) {
  auto route = cast<moe::RouteType>(op.getRoute().getType());
  int64_t groups = route.getGroups(), slots = route.getChoices(), each = slots / groups;
  bool sequences = op.getScope() == moe::Scope::sequence;
  CudaSlotsArgs<Value> args;
  args.lists.resize(blockSizes.size());
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm, {}, /*sequence=*/true);
  args = shell.bind(args);
  Value tokens = sequences ? shell.sequence() : shell.numTokens, scopes = divide(shell.numTokens, tokens);
  Value first = e.add(e.mul(e.unsignedI64(e.ctaid()), threads), e.unsignedI64(e.tid()));
  Value stride = e.mul(e.unsignedI64(e.nctaid()), threads), rowsOfGroup = e.mul(scopes, each);
  auto strided = [&](Value count, llvm::function_ref<void(Value)> body) {
    auto loop = scf::ForOp::create(e.b, e.loc, first, count, stride);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar());
  };
  strided(e.c(groups + 1), [&](Value g) { storeWord(args.route.offsets, g, e.mul(g, rowsOfGroup)); });
  strided(e.mul(shell.numTokens, slots), [&](Value i) {
    Value t = e.divU(i, slots), s = e.remU(i, slots), scope = divide(t, tokens);
    Value row = e.add(e.mul(e.add(e.mul(e.divU(s, each), scopes), scope), each), e.remU(s, each));
    storeWord(args.route.slotRow, i, row);
    e.when(e.equal(modulo(t, tokens), e.c(0)), [&] {
      storeWord(args.route.rowToken, row, t);
      storeWord(args.route.rowSlot, row, s);
    });
  });
  for (auto [k, size] : llvm::enumerate(blockSizes)) {
    int64_t blockSize = size;
    Value list = args.lists[k], perGroup = e.ceilDiv(rowsOfGroup, blockSize), total = e.mul(perGroup, groups);
    e.when(e.equal(first, e.c(0)), [&] { e.storeV4(list, {e.toI32(total), e.c32(0), e.c32(0), e.c32(0)}); });
    strided(total, [&](Value i) {
      Value group = divide(i, perGroup), begin = e.mul(modulo(i, perGroup), blockSize);
      Value rows = e.minS(e.sub(rowsOfGroup, begin), e.c(blockSize));
      e.storeV4(e.at(list, e.mul(e.add(i, e.c(1)), 16)),
                {e.toI32(group), e.toI32(e.add(e.mul(group, rowsOfGroup), begin)), e.toI32(rows), e.c32(0)});
    });
  }
  shell.finish(e, threads);
  return {threads, 0, threads, slots, groups + 1};
}

} // namespace

CudaKernelFacts lowerCudaTokenReduce(moe::TokenReduceOp op, int64_t sm, ModuleOp module, StringRef symbol) {
  bool sequences = op.getScope() == moe::Scope::sequence;
  return CudaTokens(op, sm).reduce(cast<RankedTensorType>(op.getType()), moe::totalOf(op.getKind()), sequences,
                                   /*total=*/false, module, symbol);
}

CudaKernelFacts lowerCudaTokenTotal(moe::TokenTotalOp op, int64_t sm, ModuleOp module, StringRef symbol) {
  return CudaTokens(op, sm).reduce(cast<RankedTensorType>(op.getInput().getType()), op.getKind(), /*sequences=*/false,
                                   /*total=*/true, module, symbol);
}

CudaKernelFacts lowerCudaSlotInputs(moe::SlotInputsOp op, const RowStrides &strides, int64_t sm, ModuleOp module,
                                    StringRef symbol) {
  return CudaTokens(op, sm).slotInputs(op, strides, module, symbol);
}

CudaKernelFacts lowerCudaSlots(moe::SlotsOp op, const std::vector<int64_t> &blockSizes, int64_t sm, ModuleOp module,
                               StringRef symbol) {
  return CudaTokens(op, sm).slots(op, blockSizes, module, symbol);
}

} // namespace moec
