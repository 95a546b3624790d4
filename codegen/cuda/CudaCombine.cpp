// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// out[t, h] = epilogue(sum_j w[t, j] * rows[slot_row[t*K + j], h], ...). Loads of several choices are under way at a
// time, without branches: a choice that has no row reads row 0, which exists because T*K > 0, and leaves the sum alone.

#include "codegen/cuda/CudaCombine.h"

#include "codegen/plan/StageArgs.h"

using namespace mlir;

namespace moec {
namespace {

class CudaCombineLowering {
public:
  CudaCombineLowering(moe::CombineOp op, const RowStrides &strides, bool summed)
      : e(OpBuilder(op.getContext()), op.getLoc()), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)),
        summed(summed) {
    auto type = cast<RankedTensorType>(op.getRows().getType());
    rowElement = summed ? e.f32() : type.getElementType();
    hidden = type.getDimSize(1);
    if (summed)
      this->strides.rows = 4 * hidden;
    choices = cast<moe::RouteType>(op.getRoute().getType()).getChoices();
    outElement = cast<RankedTensorType>(op.getResult().getType()).getElementType();
  }

  CudaKernelFacts run(ModuleOp module, StringRef symbol, int64_t sm);

private:
  using Values = CudaEmitter::Values;
  static constexpr int64_t runColumns = 8;

  static int64_t size(Type element) { return element.getIntOrFloatBitWidth() / 8; }
  static Type elementOf(Value v) { return cast<RankedTensorType>(v.getType()).getElementType(); }

  void columns(Value t, Value h, int64_t count, bool wide);
  Values sumChoices(Value t, Value h, int64_t count, bool wide);
  Values addChoices(Value t, Value first, int64_t batch, Value h, Values acc, bool wide);
  Values epilogue(Value t, Value h, Values acc, bool wide);
  Values loadRun(Type element, Value p, int64_t count, bool wide);
  void storeRun(Values v, Value p, bool wide);

  CudaEmitter e;
  moe::CombineOp op;
  CombineArgs<int64_t> strides;
  bool summed; // the rows are the sums of tokens
  CombineArgs<Value> buffers;
  Type rowElement, outElement;
  int64_t hidden = 0, choices = 0;
};

// A block takes whole tokens where several fit, else one of the parts of a token.
CudaKernelFacts CudaCombineLowering::run(ModuleOp module, StringRef symbol, int64_t sm) {
  CudaKernelShell shell(e, module, symbol, countArgs(strides), sm);
  buffers = shell.bind(strides);
  int64_t runs = (hidden + runColumns - 1) / runColumns, parts = (runs + 255) / 256;
  int64_t tokens = std::max<int64_t>(1, 256 / runs), perPart = (runs + parts - 1) / parts;
  int64_t threads = (tokens * perPart + cudaWarpThreads - 1) / cudaWarpThreads * cudaWarpThreads;
  auto divide = [&](Value x, int64_t y) {
    return arith::DivUIOp::create(e.b, e.loc, x, e.c32(int32_t(y))).getResult();
  };
  auto modulo = [&](Value x, int64_t y) {
    return arith::RemUIOp::create(e.b, e.loc, x, e.c32(int32_t(y))).getResult();
  };
  Value tid = e.tid(), block = e.ctaid(), t, run;
  if (parts == 1) {
    t = e.add(e.mul(e.unsignedI64(block), tokens), e.unsignedI64(divide(tid, runs)));
    run = e.unsignedI64(modulo(tid, runs));
  } else {
    t = e.unsignedI64(divide(block, parts));
    run = e.add(e.mul(e.unsignedI64(modulo(block, parts)), perPart), e.unsignedI64(tid));
  }
  Value idle = e.compare(arith::CmpIPredicate::uge, tid, e.c32(int32_t(tokens * perPart)));
  Value live = e.both(e.less(t, shell.numTokens), e.less(run, e.c(runs)));
  live = e.select(idle, arith::ConstantIntOp::create(e.b, e.loc, e.i1(), 0), live);
  e.when(live, [&] {
    Value h = e.mul(run, runColumns);
    if (hidden % runColumns == 0)
      columns(t, h, runColumns, true);
    else
      e.when(
          e.less(run, e.c(runs - 1)), [&] { columns(t, h, runColumns, true); },
          [&] { columns(t, h, hidden % runColumns, false); });
  });
  shell.finish(e, threads);
  // 64 registers a thread are enough; told nothing, ptxas spills a word where 32 just do not suffice.
  shell.function->setAttr("nvvm.minctasm",
                          e.b.getI32IntegerAttr(int32_t(std::max<int64_t>(1, 65536 / (64 * threads)))));
  return {threads, 0, parts == 1 ? tokens : 1, parts, 0};
}

void CudaCombineLowering::columns(Value t, Value h, int64_t count, bool wide) {
  Value sums = e.at(buffers.rows, e.add(e.mul(t, strides.rows), e.mul(h, 4)));
  Values acc = summed ? loadRun(e.f32(), sums, count, wide && strides.rows % 16 == 0) : sumChoices(t, h, count, wide);
  Values result = epilogue(t, h, acc, wide);
  Value to = e.at(buffers.out, e.add(e.mul(t, strides.out), e.mul(h, size(outElement))));
  storeRun(result, to, wide && strides.out % 16 == 0);
}

CudaCombineLowering::Values CudaCombineLowering::sumChoices(Value t, Value h, int64_t count, bool wide) {
  int64_t batch = std::min<int64_t>(choices, 16 / size(rowElement)), whole = choices / batch * batch;
  Values acc(count, e.f(0));
  if (whole > batch) {
    auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(whole), e.c(batch), acc);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Values next = addChoices(t, loop.getInductionVar(), batch, h, Values(loop.getRegionIterArgs()), wide);
    scf::YieldOp::create(e.b, e.loc, next);
    acc = Values(loop.getResults());
  } else {
    acc = addChoices(t, e.c(0), batch, h, acc, wide);
  }
  return whole == choices ? acc : addChoices(t, e.c(whole), choices - whole, h, acc, wide);
}

// Choices first .. first + batch - 1: all slots, then all rows, then the sums.
CudaCombineLowering::Values CudaCombineLowering::addChoices(Value t, Value first, int64_t batch, Value h, Values acc,
                                                            bool wide) {
  Value slot = e.add(e.mul(t, choices), first);
  Values present, rows, weights;
  for (int64_t j = 0; j < batch; ++j) {
    Value at = e.mul(e.add(slot, e.c(j)), 4);
    Value row = e.load(e.i32(), e.at(buffers.slotRow, at), 4);
    present.push_back(e.compare(arith::CmpIPredicate::sge, row, e.c32(0)));
    rows.push_back(e.toI64(e.select(present.back(), row, e.c32(0))));
    if (buffers.weights)
      weights.push_back(e.load(e.f32(), e.at(*buffers.weights, at), 4));
  }
  SmallVector<Values> loaded;
  for (Value row : rows) {
    Value p = e.at(buffers.rows, e.add(e.mul(row, strides.rows), e.mul(h, size(rowElement))));
    loaded.push_back(loadRun(rowElement, p, int64_t(acc.size()), wide && strides.rows % 16 == 0));
  }
  for (int64_t j = 0; j < batch; ++j)
    for (auto [i, a] : llvm::enumerate(acc)) {
      Value x = e.widen(loaded[j][i]);
      Value sum = op.getWeights() ? e.fma(weights[j], x, a) : e.addF(a, x);
      acc[i] = e.select(present[j], sum, a);
    }
  return acc;
}

CudaCombineLowering::Values CudaCombineLowering::epilogue(Value t, Value h, Values acc, bool wide) {
  if (op.getEpilogue().empty())
    return acc;
  int64_t count = int64_t(acc.size());
  SmallVector<Values> inputs = {acc};
  for (auto [i, operand] : llvm::enumerate(op.getEpilogueOperands())) {
    Type element = elementOf(operand);
    Value base = buffers.epilogue[i];
    int64_t stride = strides.epilogue[i];
    moe::OperandKind kind = moe::kindAt(op.getEpilogueKinds(), unsigned(i));
    Value row = e.at(base, e.mul(t, stride));
    if (kind == moe::OperandKind::elem)
      inputs.push_back(loadRun(element, e.at(row, e.mul(h, size(element))), count, wide && stride % 16 == 0));
    else if (kind == moe::OperandKind::col)
      inputs.push_back(loadRun(element, e.at(base, e.mul(h, size(element))), count, wide));
    else
      inputs.push_back(
          Values(count, e.load(element, kind == moe::OperandKind::row ? row : base, unsigned(size(element)))));
  }
  Values out;
  for (int64_t i = 0; i < count; ++i) {
    Values column;
    for (const Values &input : inputs)
      column.push_back(input[i]);
    out.push_back(e.inlineScalar(op.getEpilogue(), column)[0]);
  }
  return out;
}

CudaCombineLowering::Values CudaCombineLowering::loadRun(Type element, Value p, int64_t count, bool wide) {
  int64_t bytes = size(element), lanes = wide ? 16 / bytes : 1;
  Values out;
  for (int64_t i = 0; i < count; i += lanes) {
    Value from = e.at(p, i * bytes);
    Value loaded = e.load(wide ? Type(e.vec(element, lanes)) : element, from, unsigned(wide ? 16 : bytes));
    for (int64_t l = 0; l < lanes; ++l)
      out.push_back(wide ? vector::ExtractOp::create(e.b, e.loc, loaded, ArrayRef<int64_t>{l}).getResult() : loaded);
  }
  return out;
}

void CudaCombineLowering::storeRun(Values v, Value p, bool wide) {
  int64_t bytes = size(outElement), lanes = wide ? 16 / bytes : 1;
  for (int64_t i = 0; i < int64_t(v.size()); i += lanes) {
    Value x = v[i];
    if (wide)
      x = vector::FromElementsOp::create(e.b, e.loc, e.vec(outElement, lanes), ValueRange(v).slice(i, lanes));
    e.store(x, e.at(p, i * bytes), unsigned(wide ? 16 : bytes));
  }
}

} // namespace

CudaKernelFacts lowerCudaCombine(moe::CombineOp op, const RowStrides &strides, int64_t sm, ModuleOp module,
                                 StringRef symbol) {
  return CudaCombineLowering(op, strides, /*summed=*/false).run(module, symbol, sm);
}

CudaKernelFacts lowerCudaFinish(moe::CombineOp op, const RowStrides &strides, int64_t sm, ModuleOp module,
                                StringRef symbol) {
  return CudaCombineLowering(op, strides, /*summed=*/true).run(module, symbol, sm);
}

CudaKernelFacts lowerCudaClear(int64_t bytesPerToken, int64_t sm, Location loc, ModuleOp module, StringRef symbol) {
  constexpr int64_t threads = 256, bytes = 16;
  CudaEmitter e(OpBuilder(loc.getContext()), loc);
  CudaClearArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm);
  args = shell.bind(args);
  Value at = e.mul(e.add(e.mul(e.unsignedI64(e.ctaid()), threads), e.unsignedI64(e.tid())), bytes);
  e.when(e.less(at, e.mul(shell.numTokens, bytesPerToken)),
         [&] { e.storeV4(e.at(args.sums, at), {e.c32(0), e.c32(0), e.c32(0), e.c32(0)}); });
  shell.finish(e, threads);
  return {threads, 0, threads * bytes, bytesPerToken, 0};
}

} // namespace moec
