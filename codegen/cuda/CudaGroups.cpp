// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums over the rows of groups: threads of a block are columns times strands, as sums over tokens (CudaTokens.cpp).
// Products of a token with its rows: a warp each.

#include "codegen/cuda/CudaGroups.h"

#include "codegen/plan/StageArgs.h"

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t threads = 256, width = 32, strands = threads / width, rowRun = 32;
constexpr int64_t perThread = 4; // elements of a whole parameter

using Values = CudaEmitter::Values;

RankedTensorType tensor(Value v) { return cast<RankedTensorType>(v.getType()); }
int64_t bytesOf(Type element) { return element.getIntOrFloatBitWidth() / 8; }

Value word(CudaEmitter &e, Value table, Value index) {
  return e.toI64(e.load(e.i32(), e.at(table, e.mul(index, 4)), 4));
}

Value globalThread(CudaEmitter &e) { return e.add(e.mul(e.unsignedI64(e.ctaid()), threads), e.unsignedI64(e.tid())); }

// perThread elements of every thread, `threads` apart, below `count`.
CudaKernelFacts forElements(CudaEmitter &e, CudaKernelShell &shell, Value count, llvm::function_ref<void(Value)> body) {
  Value first = e.add(e.mul(e.unsignedI64(e.ctaid()), threads * perThread), e.unsignedI64(e.tid()));
  for (int64_t i = 0; i < perThread; ++i) {
    Value index = e.add(first, e.c(i * threads));
    e.when(e.less(index, count), [&] { body(index); });
  }
  shell.finish(e, threads);
  return {threads, 0, threads * perThread, 0, 0};
}

CudaKernelFacts forElements(CudaEmitter &e, CudaKernelShell &shell, int64_t count,
                            llvm::function_ref<void(Value)> body) {
  CudaKernelFacts facts = forElements(e, shell, e.c(count), body);
  facts.unitsFixed = count;
  return facts;
}

} // namespace

CudaGroupRows rowsOfGroup(CudaEmitter &e, std::optional<Value> offsets, int64_t groups, Value group, Value numTokens,
                          std::optional<ArrayRef<int64_t>> frozen) {
  Value first = offsets && group ? word(e, *offsets, group) : e.c(0), last = numTokens;
  if (offsets) {
    last = word(e, *offsets, group ? e.add(group, e.c(1)) : e.c(groups));
    last = e.select(e.less(e.c(0), numTokens), last, first);
  }
  if (frozen) {
    SmallVector<int32_t> flags(size_t(groups), 0);
    for (int64_t g : *frozen)
      flags[size_t(g)] = 1;
    last = e.select(e.less(e.c(0), word(e, e.numberTable(flags, 0, 1), group)), first, last);
  }
  return {first, last};
}

CudaKernelFacts lowerCudaGroupSum(moe::GroupSumOp op, const RowStrides &rowStrides, int64_t sm, ModuleOp module,
                                  StringRef symbol) {
  CudaEmitter e(OpBuilder(op.getContext()), op.getLoc());
  RankedTensorType type = tensor(op.getResult());
  bool perGroup = type.getRank() == 2;
  int64_t n = type.getShape().back(), blocks = (n + width - 1) / width;
  int64_t groups = cast<moe::RouteType>(op.getRoute().getType()).getGroups();
  GroupSumArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  CudaKernelShell shell(e, module, symbol, countArgs(strides), sm);
  GroupSumArgs<Value> args = shell.bind(strides);
  Value unit = e.unsignedI64(e.ctaid()), tid = e.unsignedI64(e.tid());
  Value group = e.divU(unit, blocks), strand = e.divU(tid, width), own = e.remU(tid, width);
  Value column = e.add(e.mul(e.remU(unit, blocks), width), own), live = e.less(column, e.c(n));
  Value at = e.mul(e.select(live, column, e.c(0)), 4);
  auto [first, last] =
      rowsOfGroup(e, args.offsets, groups, perGroup ? group : Value(), shell.numTokens, op.getFrozen());
  auto join = [&](Value a, Value b) { return e.addF(a, b); };
  auto step = [&](const Values &acc, Value row) -> Values {
    return {e.addF(acc[0], e.load(e.f32(), e.at(args.values, e.add(e.mul(row, strides.values), at)), 4))};
  };
  Value part = e.foldInRuns(e.add(first, strand), last, strands, rowRun, {e.f(0)}, step, join)[0];
  auto place = [&](Value s) { return e.at(e.shared(), e.mul(e.add(e.mul(s, width), own), 4)); };
  e.store(part, place(strand), 4);
  e.barrier(0, threads);
  e.when(e.both(live, e.equal(strand, e.c(0))), [&] {
    Value sum = part;
    for (int64_t s = 1; s < strands; ++s)
      sum = e.addF(sum, e.load(e.f32(), place(e.c(s)), 4));
    e.store(sum, e.at(args.out, e.add(e.mul(group, 4 * n), at)), 4);
  });
  shell.finish(e, threads);
  return {threads, threads * 4, 1, 0, (perGroup ? groups : 1) * blocks};
}

CudaKernelFacts lowerCudaSlotValues(moe::SlotValuesOp op, const RowStrides &rowStrides, int64_t sm, ModuleOp module,
                                    StringRef symbol) {
  CudaEmitter e(OpBuilder(op.getContext()), op.getLoc());
  int64_t choices = tensor(op.getResult()).getDimSize(1);
  SlotValuesArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  CudaKernelShell shell(e, module, symbol, countArgs(strides), sm);
  SlotValuesArgs<Value> args = shell.bind(strides);
  Value slot = globalThread(e);
  e.when(e.less(slot, e.mul(shell.numTokens, choices)), [&] {
    Value row = word(e, args.slotRow, slot), chosen = e.less(e.c(-1), row);
    Value from = e.at(args.values, e.mul(e.select(chosen, row, e.c(0)), strides.values));
    Value to = e.at(args.out, e.add(e.mul(e.divU(slot, choices), strides.out), e.mul(e.remU(slot, choices), 4)));
    e.when(chosen, [&] { e.store(e.load(e.f32(), from, 4), to, 4); }, [&] { e.store(e.f(0), to, 4); });
  });
  shell.finish(e, threads);
  return {threads, 0, threads, choices, 0};
}

// Lanes take whole 16 bytes where rows of both are aligned to them, else one element; lane sums meet in a butterfly.
CudaKernelFacts lowerCudaSlotProducts(moe::SlotProductsOp op, const RowStrides &rowStrides, int64_t sm, ModuleOp module,
                                      StringRef symbol) {
  CudaEmitter e(OpBuilder(op.getContext()), op.getLoc());
  int64_t choices = tensor(op.getResult()).getDimSize(1), n = tensor(op.getA()).getDimSize(1);
  Type ofA = tensor(op.getA()).getElementType(), ofRows = tensor(op.getRows()).getElementType();
  SlotProductsArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  CudaKernelShell shell(e, module, symbol, countArgs(strides), sm);
  SlotProductsArgs<Value> args = shell.bind(strides);
  int64_t run = 16 / std::max(bytesOf(ofA), bytesOf(ofRows));
  bool aligned = strides.a % 16 == 0 && strides.rows % 16 == 0 && n % run == 0;
  run = aligned ? run : 1;
  Value lane = e.remU(e.unsignedI64(e.tid()), cudaWarpThreads), slot = e.divU(globalThread(e), cudaWarpThreads);
  auto elements = [&](Value row, Type element, Value h) {
    Value from = e.at(row, e.mul(h, bytesOf(element)));
    Values out;
    if (run == 1)
      return Values{e.widen(e.load(element, from, unsigned(bytesOf(element))))};
    Value loaded = e.load(e.vec(element, run), from, unsigned(run * bytesOf(element)));
    for (int64_t l = 0; l < run; ++l)
      out.push_back(e.widen(vector::ExtractOp::create(e.b, e.loc, loaded, ArrayRef<int64_t>{l}).getResult()));
    return out;
  };
  e.when(e.less(slot, e.mul(shell.numTokens, choices)), [&] {
    Value row = word(e, args.slotRow, slot), token = e.divU(slot, choices);
    Value to = e.at(args.out, e.add(e.mul(token, strides.out), e.mul(e.remU(slot, choices), 4)));
    Value a = e.at(args.a, e.mul(token, strides.a));
    auto product = [&] {
      Value x = e.at(args.rows, e.mul(row, strides.rows));
      auto step = [&](const Values &acc, Value h) -> Values {
        Values one = elements(a, ofA, h), two = elements(x, ofRows, h);
        Value sum = acc[0];
        for (auto [p, q] : llvm::zip(one, two))
          sum = e.fma(p, q, sum);
        return {sum};
      };
      Value sum = e.foldInRuns(e.mul(lane, run), e.c(n), cudaWarpThreads * run, rowRun, {e.f(0)}, step,
                               [&](Value p, Value q) { return e.addF(p, q); })[0];
      for (int64_t mask = cudaWarpThreads / 2; mask; mask /= 2)
        sum = e.addF(sum, e.shflBfly(sum, mask));
      e.when(e.equal(lane, e.c(0)), [&] { e.store(sum, to, 4); });
    };
    // all lanes of a warp have the same slot
    e.when(e.less(row, e.c(0)), [&] { e.when(e.equal(lane, e.c(0)), [&] { e.store(e.f(0), to, 4); }); }, product);
  });
  shell.finish(e, threads);
  return {threads, 0, threads / cudaWarpThreads, choices, 0};
}

CudaKernelFacts lowerCudaParameterSum(moe::ParameterSumOp op, int64_t sm, ModuleOp module, StringRef symbol) {
  CudaEmitter e(OpBuilder(op.getContext()), op.getLoc());
  ParameterSumArgs<unsigned> like = numberArgs(argsOf(op));
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm);
  ParameterSumArgs<Value> args = shell.bind(like);
  return forElements(e, shell, tensor(op.getResult()).getNumElements(), [&](Value i) {
    Value at = e.mul(i, 4), sum;
    for (Value values : args.values) {
      Value v = e.load(e.f32(), e.at(values, at), 4);
      sum = sum ? e.addF(sum, v) : v;
    }
    e.store(sum, e.at(args.out, at), 4);
  });
}

CudaKernelFacts lowerCudaScaledRows(moe::ScaledRowsOp op, const moec_weight &weight, int64_t sm, ModuleOp module,
                                    StringRef symbol) {
  CudaEmitter e(OpBuilder(op.getContext()), op.getLoc());
  Type element = tensor(op.getMatrix()).getElementType();
  int64_t k = tensor(op.getResult()).getDimSize(1), size = bytesOf(element);
  ScaledRowsArgs<unsigned> like = numberArgs(argsOf(op));
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm);
  ScaledRowsArgs<Value> args = shell.bind(like);
  return forElements(e, shell, tensor(op.getResult()).getNumElements(), [&](Value i) {
    Value row = e.divU(i, k), at = e.add(e.mul(row, int64_t(weight.k_padded)), e.remU(i, k));
    Value factor = e.mulF(e.f(op.getFactor().convertToDouble()), e.load(e.f32(), e.at(args.values, e.mul(row, 4)), 4));
    Value w = e.widen(e.load(element, e.at(args.matrix, e.mul(at, size)), unsigned(size)));
    e.store(e.mulF(factor, w), e.at(args.out, e.mul(i, 4)), 4);
  });
}

// ---- gradients of the caller ------------------------------------------------------------------------------------

CudaGradientForm::CudaGradientForm(CudaEmitter &e, Value form)
    : adds(e.equal(e.remU(form, 2), e.c(1))), type(e.divU(form, 2)) {}

void whenForm(CudaEmitter &e, const CudaGradientForm &form, ArrayRef<Type> shortTypes,
              llvm::function_ref<void(Type, bool)> store) {
  auto ofType = [&](Type type) { e.when(form.adds, [&] { store(type, true); }, [&] { store(type, false); }); };
  for (Type type : shortTypes)
    e.when(e.equal(form.type, e.c(type.isBF16() ? MOEC_BF16 : MOEC_F16)), [&] { ofType(type); });
  e.when(e.equal(form.type, e.c(MOEC_F32)), [&] { ofType(e.f32()); });
}

void storeGradient(CudaEmitter &e, Value to, ArrayRef<Value> values, Type type, bool adds) {
  unsigned align = unsigned(int64_t(values.size()) * bytesOf(type));
  auto count = int64_t(values.size());
  Type whole = count > 1 ? Type(e.vec(type, count)) : type;
  Value old = adds ? e.load(whole, to, align) : Value();
  Values sums;
  for (auto [i, value] : llvm::enumerate(values)) {
    Value sum = value;
    if (adds)
      sum = e.addF(e.widen(count > 1
                               ? vector::ExtractOp::create(e.b, e.loc, old, ArrayRef<int64_t>{int64_t(i)}).getResult()
                               : old),
                   value);
    sums.push_back(e.narrow(sum, type));
  }
  e.store(count > 1 ? vector::FromElementsOp::create(e.b, e.loc, e.vec(type, count), sums).getResult() : sums[0], to,
          align);
}

CudaKernelFacts lowerCudaStoreGradient(const CudaGradientShape &shape, ArrayRef<Type> shortTypes, int64_t sm,
                                       Location loc, ModuleOp module, StringRef symbol) {
  CudaEmitter e(OpBuilder(loc.getContext()), loc);
  CudaGradientArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm, {}, /*sequence=*/true);
  args = shell.bind(args);
  CudaGradientForm form(e, shell.sequence());
  if (!shape.matrix)
    form.type = e.c(MOEC_F32);
  return forElements(e, shell, shape.rows * shape.columns, [&](Value i) {
    Value from = e.add(e.mul(e.divU(i, shape.columns), shape.rowStride), e.remU(i, shape.columns));
    Value value = e.load(e.f32(), e.at(args.values, e.mul(e.add(from, e.c(shape.first)), 4)), 4);
    whenForm(e, form, shape.matrix ? shortTypes : ArrayRef<Type>(), [&](Type type, bool adds) {
      storeGradient(e, e.at(args.gradient, e.mul(i, bytesOf(type))), value, type, adds);
    });
  });
}

CudaKernelFacts lowerCudaCopy(moec_extent bytes, int64_t sm, Location loc, ModuleOp module, StringRef symbol) {
  CudaEmitter e(OpBuilder(loc.getContext()), loc);
  int64_t size = bytes.per_token % 4 || bytes.fixed % 4 ? 2 : 4;
  Type element = e.b.getIntegerType(unsigned(8 * size));
  CopyArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm);
  args = shell.bind(args);
  Value given = e.compare(arith::CmpIPredicate::ne, LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), args.from), e.c(0));
  Value count = e.add(e.mul(shell.numTokens, bytes.per_token / size), e.c(bytes.fixed / size));
  CudaKernelFacts facts = forElements(e, shell, count, [&](Value i) {
    Value at = e.mul(i, size), to = e.at(args.to, at);
    Value zero = arith::ConstantIntOp::create(e.b, e.loc, element, 0);
    auto copy = [&] { e.store(e.load(element, e.at(args.from, at), unsigned(size)), to, unsigned(size)); };
    e.when(given, copy, [&] { e.store(zero, to, unsigned(size)); });
  });
  facts.unitsPerToken = bytes.per_token / size, facts.unitsFixed = bytes.fixed / size;
  return facts;
}

} // namespace moec
