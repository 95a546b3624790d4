// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Row programs on CUDA. A value of a row is a scalar (shape [L]), the same in all lanes of the row's warp, or a run of
// elements (shape [L,N]): in global memory where it is an input, a gathered row or a result nothing else reads, else in
// the warp's part of shared memory, 4 bytes per element whatever its type, for as long as something reads it.
//
//     shared memory   | warp 0: runs | warp 1: runs | ...      the same offsets for every warp
//
// Maps that share a loop (moe/MapLoops.h) hand their elements on in registers, to sums over the row as well.
//
// Lanes exchange elements through shared memory only between ops, where there is a warp_sync.

#include "codegen/cuda/CudaRows.h"

#include "codegen/cuda/CudaRun.h"
#include "codegen/cuda/CudaTopK.h"
#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/MapLoops.h"
#include "codegen/plan/StageArgs.h"

#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;

namespace moec {
namespace {

// What a route says of the row in hand, i64.
struct RouteRow {
  Value token, slot; // slot = token * K + choice
  Value choice;      // null: not of a route of slots
};

class CudaRowsLowering {
public:
  CudaRowsLowering(moe::RowProgramOp op, const RowStrides &strides)
      : e(OpBuilder(op.getContext()), op.getLoc()), runs(e), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)) {}

  // Inside another kernel.
  CudaRowsLowering(const CudaEmitter &within, moe::RowProgramOp op, const RowStrides &strides)
      : e(within), runs(e), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)) {}

  CudaKernelFacts run(ModuleOp module, StringRef symbol, int64_t sm);
  int64_t within(CudaKernelShell &shell, const RowProgramArgs<Value> &own, int64_t threads, int64_t mostBytes);

private:
  using Values = CudaEmitter::Values;

  static int64_t size(Type element) { return element.isInteger(1) ? 4 : element.getIntOrFloatBitWidth() / 8; }
  static RankedTensorType tensor(Value v) { return cast<RankedTensorType>(v.getType()); }

  void begin();
  void placeWarp(arith::ConstantOp warpBytes);
  arith::ConstantOp settledLater() { return arith::ConstantIntOp::create(e.b, e.loc, e.i64(), 0); }
  void lowerRow();
  void bindInput(BlockArgument argument);
  void lowerStep(const RowStep &step);
  void lowerOp(Operation &op);
  void lowerScalarMap(moe::MapOp op);
  void lowerMaps(const RowStep &maps);
  using Elements = DenseMap<Value, Value>; // of runs, at one column
  void loadElements(const RowStep &maps, Value n, Elements &at);
  Values mapOperands(moe::MapOp op, int64_t count, Value n, const Elements &at);
  void lowerReduce(moe::ReduceOp op);
  void reduceSegments(const RowRun &x, const RowRun &out, int64_t segments, bool sum);
  void lowerSoftmax(moe::SoftmaxOp op);
  void lowerTopK(moe::TopKOp op);
  void lowerColumns(moe::ColumnsOp op);
  void lowerPrefixSum(moe::PrefixSumOp op);
  void lowerLookup(moe::LookupOp op);
  void lowerMember(moe::MemberOp op);
  void lowerTake(moe::TakeOp op);
  void lowerPut(moe::PutOp op);
  void lowerGather(moe::GatherOp op);
  void lowerSlotRows(moe::SlotRowsOp op);
  void storeResult(Value result, Value buffer, int64_t stride);
  void copyWide(Value to, Value from, int64_t bytes);

  RowRun allocate(Type element, int64_t count) {
    int64_t offset = memory.allocate(count * 4);
    return {e.at(warpMemory, offset), element, count, 4, offset, 4};
  }
  RowRun place(Value result, const RowStep &step);
  RowRun place(Value result) { return place(result, {result.getDefiningOp()}); }
  void release(const RowStep &step);
  Value lane32() { return e.toI32(runs.lane); }
  void byFirstLane(llvm::function_ref<void()> body) { e.when(e.equal(runs.lane, e.c(0)), body); }

  Value joinMax(Value acc, Value x) { // NaN loses; it stays only while nothing else came
    Value greater = e.compare(arith::CmpFPredicate::OGT, x, acc);
    return e.select(e.either(greater, e.compare(arith::CmpFPredicate::UNO, acc, acc)), x, acc);
  }
  Value join(bool sum, Value acc, Value x) { return sum ? e.addF(acc, x) : joinMax(acc, x); }
  Value neutral(bool sum) { return e.f(sum ? 0.0 : std::numeric_limits<double>::quiet_NaN()); }
  // This lane's part of elements [begin, begin + count) joined, each passed through `map` first.
  Value foldLane(const RowRun &x, Value begin, int64_t count, bool sum, llvm::function_ref<Value(Value)> map = nullptr);
  Value foldWarp(Value acc, bool sum) {
    runs.joinLanes(acc, [&](Value a, Value x) { return join(sum, a, x); });
    return acc;
  }

  CudaEmitter e;
  RunWalker runs;
  moe::RowProgramOp op;
  RowProgramArgs<int64_t> strides;
  SharedRuns memory;
  RowProgramArgs<Value> buffers;
  Value warp, warpMemory, row;
  DenseMap<Value, RowRun> values;
  DenseMap<Value, RouteRow> routes;
  llvm::DenseSet<Value> stored; // results that their op writes itself
  llvm::SmallPtrSet<Operation *, 32> done;
  Value sequenceTokens; // where readsSequence
  bool touched = false; // shared memory since the last warp_sync
};

static moe::RouteType routeOf(moe::RowProgramOp op) {
  for (Value input : op.getInputs())
    if (auto route = dyn_cast<moe::RouteType>(input.getType()))
      return route;
  return nullptr;
}

// As many as fit, a half each time; one always does.
static int64_t warpsOf(int64_t most, int64_t bytesOfWarp, int64_t mostBytes) {
  while (most > 1 && most * bytesOfWarp > mostBytes)
    most /= 2;
  return most;
}

// The size of a warp's memory, and with it the number of warps, is known only when all ops are lowered: both are
// constants that are settled at the end.
CudaKernelFacts CudaRowsLowering::run(ModuleOp module, StringRef symbol, int64_t sm) {
  moe::RouteType route = routeOf(op);
  CudaRowProgramArgs<unsigned> like = {numberArgs(strides), std::nullopt};
  if (route)
    like.offsets.emplace();
  bool sequence = readsSequence(op);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm, {}, sequence);
  CudaRowProgramArgs<Value> args = shell.bind(like);
  buffers = args.program;
  if (sequence)
    sequenceTokens = shell.sequence();
  begin();
  arith::ConstantOp warps = settledLater(), warpBytes = settledLater();
  placeWarp(warpBytes);
  row = e.add(e.mul(e.unsignedI64(e.ctaid()), warps.getResult()), warp);
  Value rows = shell.numTokens;
  if (route)
    rows = e.toI64(e.load(e.i32(), e.at(*args.offsets, route.getGroups() * 4), 4));
  e.when(e.less(row, rows), [&] { lowerRow(); });
  int64_t bytes = memory.peak(), count = warpsOf(4, bytes, 48 * 1024);
  warps.setValueAttr(e.b.getI64IntegerAttr(count));
  warpBytes.setValueAttr(e.b.getI64IntegerAttr(bytes));
  shell.finish(e, count * cudaWarpThreads);
  CudaKernelFacts facts = {count * cudaWarpThreads, count * bytes, count, 1, 0};
  if (route) {
    facts.unitsPerToken = route.getRowsPerToken();
    facts.unitsFixed = route.getRowsFixed();
    facts.unitsPerSequence = route.getRowsPerSequence();
  }
  return facts;
}

void CudaRowsLowering::begin() {
  Value tid = e.unsignedI64(e.tid());
  runs.lane = e.remU(tid, cudaWarpThreads);
  warp = e.divU(tid, cudaWarpThreads);
}

void CudaRowsLowering::placeWarp(arith::ConstantOp warpBytes) {
  warpMemory = e.at(e.shared(), e.mul(warp, warpBytes.getResult()));
}

// Rows of T; a warp that starts its next row has left the memory of the one before.
int64_t CudaRowsLowering::within(CudaKernelShell &shell, const RowProgramArgs<Value> &own, int64_t threads,
                                 int64_t mostBytes) {
  buffers = own;
  begin();
  arith::ConstantOp warps = settledLater(), warpBytes = settledLater();
  placeWarp(warpBytes);
  Value works = e.less(warp, warps.getResult());
  auto loop =
      scf::ForOp::create(e.b, e.loc, e.select(works, warp, shell.numTokens), shell.numTokens, warps.getResult());
  {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPoint(loop.getBody()->getTerminator());
    row = loop.getInductionVar();
    lowerRow();
    e.warpSync();
  }
  int64_t bytes = memory.peak(), count = warpsOf(threads / cudaWarpThreads, bytes, mostBytes);
  warps.setValueAttr(e.b.getI64IntegerAttr(count));
  warpBytes.setValueAttr(e.b.getI64IntegerAttr(bytes));
  return count * bytes;
}

void CudaRowsLowering::lowerRow() {
  Block &body = op.getBody().front();
  for (BlockArgument argument : body.getArguments())
    bindInput(argument);
  for (const RowStep &step : rowSteps(body, [](moe::MapOp, moe::MapOp) { return true; }))
    if (!done.contains(step.front())) // a sum that a loop made
      lowerStep(step);
  if (touched)
    e.warpSync();
  for (auto [i, result] : llvm::enumerate(body.getTerminator()->getOperands()))
    if (!stored.contains(result))
      storeResult(result, buffers.results[i], strides.results[i]);
}

void CudaRowsLowering::bindInput(BlockArgument argument) {
  const RowInputArgs<Value> &buffer = buffers.inputs[argument.getArgNumber()];
  if (auto route = dyn_cast<moe::RouteType>(argument.getType())) {
    auto entry = [&](Value table) { return e.toI64(e.load(e.i32(), e.at(table, e.mul(row, 4)), 4)); };
    Value token = entry(buffer.value), slot = entry(*buffer.rowSlot), choice;
    if (op.getInputs()[argument.getArgNumber()].getDefiningOp<moe::SlotsOp>()) { // row_slot is the choice alone
      choice = slot;
      slot = e.add(e.mul(token, route.getChoices()), slot);
    }
    routes[argument] = {token, slot, choice};
    return;
  }
  auto type = tensor(argument);
  Type element = type.getElementType();
  Value base = buffer.value;
  int64_t stride = strides.inputs[argument.getArgNumber()].value, bytes = size(element);
  const LayerInput *input = inputOf(op.getInputs()[argument.getArgNumber()]);
  bool byElement = input && input->shape != InputShape::LikeX; // callers align such inputs to their elements alone
  int64_t align = byElement || stride % 16 ? bytes : 16;
  if (!type.isDynamicDim(0)) { // a parameter, the same for all rows
    values[argument] = {base, element, type.getNumElements(), bytes, -1, bytes, stride};
    return;
  }
  int64_t count = type.getRank() == 2 ? type.getDimSize(1) : 0;
  bool gathered = !argument.use_empty() && llvm::all_of(argument.getUsers(), [&](Operation *user) {
    return isa<moe::GatherOp, moe::SlotRowsOp>(user) && user->getOperand(0) == argument;
  });
  if (gathered) { // the gather adds the row it wants
    values[argument] = {base, element, count, bytes, -1, align, stride};
    return;
  }
  Value p = e.at(base, e.mul(row, stride));
  if (count)
    values[argument] = {p, element, count, bytes, -1, align};
  else
    values[argument] = {e.load(element, p, unsigned(bytes)), element};
}

// Where an op, one of `step`, writes its run: straight to the result that alone reads it behind the step, else to
// shared memory.
RowRun CudaRowsLowering::place(Value result, const RowStep &step) {
  auto type = tensor(result);
  Type element = type.getElementType();
  int64_t count = type.getDimSize(1);
  SmallVector<OpOperand *> later;
  for (OpOperand &use : result.getUses())
    if (!llvm::is_contained(step, use.getOwner()))
      later.push_back(&use);
  if (later.size() != 1 || later.front()->getOwner() != op.getBody().front().getTerminator())
    return allocate(element, count);
  unsigned index = later.front()->getOperandNumber();
  stored.insert(result);
  return {e.at(buffers.results[index], e.mul(row, strides.results[index])),
          element,
          count,
          size(element),
          -1,
          size(element)};
}

// Runs that no later op reads give their memory back.
void CudaRowsLowering::release(const RowStep &step) {
  llvm::SmallDenseSet<Value> seen;
  auto releaseOne = [&](Value v) {
    auto found = values.find(v);
    bool readLater = llvm::any_of(v.getUsers(), [&](Operation *user) { return !done.contains(user); });
    if (seen.insert(v).second && found != values.end() && found->second.offset >= 0 && !readLater)
      memory.release(found->second.offset);
  };
  for (Operation *inner : step) {
    llvm::for_each(inner->getOperands(), releaseOne);
    llvm::for_each(inner->getResults(), releaseOne);
  }
}

void CudaRowsLowering::lowerStep(const RowStep &step) {
  auto isRun = [&](Value v) { return isa<RankedTensorType>(v.getType()) && tensor(v).getRank() == 2; };
  auto any = [&](llvm::function_ref<bool(Value)> is) {
    return llvm::any_of(step, [&](Operation *inner) {
      return llvm::any_of(inner->getOperands(), is) || llvm::any_of(inner->getResults(), is);
    });
  };
  if (touched && any(isRun)) {
    e.warpSync();
    touched = false;
  }
  e.loc = step.front()->getLoc();
  if (isRunMap(step.front()))
    lowerMaps(step);
  else
    lowerOp(*step.front());
  touched |= any([&](Value v) { return values.contains(v) && values[v].offset >= 0; });
  done.insert(step.begin(), step.end());
  release(step);
}

void CudaRowsLowering::lowerOp(Operation &inner) {
  TypeSwitch<Operation *>(&inner)
      .Case<moe::MapOp>([&](auto o) { lowerScalarMap(o); })
      .Case<moe::ReduceOp>([&](auto o) { lowerReduce(o); })
      .Case<moe::SoftmaxOp>([&](auto o) { lowerSoftmax(o); })
      .Case<moe::ColumnsOp>([&](auto o) { lowerColumns(o); })
      .Case<moe::PrefixSumOp>([&](auto o) { lowerPrefixSum(o); })
      .Case<moe::LookupOp>([&](auto o) { lowerLookup(o); })
      .Case<moe::TopKOp>([&](auto o) { lowerTopK(o); })
      .Case<moe::MemberOp>([&](auto o) { lowerMember(o); })
      .Case<moe::TakeOp>([&](auto o) { lowerTake(o); })
      .Case<moe::PutOp>([&](auto o) { lowerPut(o); })
      .Case<moe::GatherOp>([&](auto o) { lowerGather(o); })
      .Case<moe::SlotRowsOp>([&](auto o) { lowerSlotRows(o); });
}

static bool isElementwise(moe::MapOp map, unsigned operand) {
  moe::OperandKind kind = moe::kindAt(map.getKinds(), operand);
  return kind == moe::OperandKind::elem || kind == moe::OperandKind::col;
}

// What maps of a loop read at column n and none of them makes.
void CudaRowsLowering::loadElements(const RowStep &maps, Value n, Elements &at) {
  for (Operation *op : maps)
    for (auto [i, input] : llvm::enumerate(cast<moe::MapOp>(op).getInputs())) {
      auto known = values.find(input);
      if (known != values.end() && known->second.count && isElementwise(cast<moe::MapOp>(op), unsigned(i)) &&
          !at.contains(input))
        at[input] = loadElement(e, known->second, n);
    }
}

CudaRowsLowering::Values CudaRowsLowering::mapOperands(moe::MapOp map, int64_t count, Value n, const Elements &at) {
  Values out;
  for (auto [i, input] : llvm::enumerate(map.getInputs())) {
    Value made = count && isElementwise(map, unsigned(i)) ? at.lookup(input) : Value();
    if (made) {
      out.push_back(made);
      continue;
    }
    const RowRun &v = values[input];
    bool segment = moe::kindAt(map.getKinds(), unsigned(i)) == moe::OperandKind::segment;
    out.push_back(v.count == 0 ? v.value : loadElement(e, v, segment ? e.divU(n, count / v.count) : e.c(0)));
  }
  return out;
}

void CudaRowsLowering::lowerScalarMap(moe::MapOp map) {
  Values made = e.inlineScalar(map.getBody(), mapOperands(map, 0, Value(), Elements()));
  values[map.getResult()] = {made[0], tensor(map.getResult()).getElementType()};
}

// One loop; sums and maxima of what the maps make are taken along.
void CudaRowsLowering::lowerMaps(const RowStep &maps) {
  RowStep loop = maps;
  SmallVector<moe::ReduceOp> reductions;
  for (Operation *map : maps)
    for (Operation *user : map->getUsers())
      if (auto reduce = dyn_cast<moe::ReduceOp>(user); reduce && !reduce.getSegments() && !done.contains(user)) {
        done.insert(user);
        loop.push_back(user);
        reductions.push_back(reduce);
      }
  SmallVector<std::pair<Value, RowRun>> kept; // what other ops read too
  for (Operation *map : maps)
    if (llvm::any_of(map->getUsers(), [&](Operation *user) { return !llvm::is_contained(loop, user); }))
      kept.push_back({map->getResult(0), place(map->getResult(0), loop)});
  int64_t count = tensor(maps.front()->getResult(0)).getDimSize(1);
  Values sums;
  for (moe::ReduceOp reduce : reductions)
    sums.push_back(neutral(reduce.getKind() == moe::ReduceKind::sum));
  sums = runs.fold(count, sums, [&](Values acc, ArrayRef<Value> columns, Value valid) -> Values {
    SmallVector<Elements> at(columns.size());
    for (auto [n, elements] : llvm::zip(columns, at))
      loadElements(maps, n, elements);
    for (auto [n, elements] : llvm::zip(columns, at))
      for (Operation *op : maps) {
        auto map = cast<moe::MapOp>(op);
        elements[map.getResult()] = e.inlineScalar(map.getBody(), mapOperands(map, count, n, elements))[0];
      }
    auto store = [&] {
      for (auto [n, elements] : llvm::zip(columns, at))
        for (auto &[value, run] : kept)
          storeElement(e, run, n, elements[value]);
    };
    if (valid && !kept.empty())
      e.when(valid, store);
    else
      store();
    for (const Elements &elements : at)
      for (auto [i, reduce] : llvm::enumerate(reductions)) {
        bool sum = reduce.getKind() == moe::ReduceKind::sum;
        Value v = elements.lookup(reduce.getInput());
        acc[i] = join(sum, acc[i], valid ? e.select(valid, v, neutral(sum)) : v);
      }
    return acc;
  });
  values.insert(kept.begin(), kept.end());
  for (auto [sum, reduce] : llvm::zip(sums, reductions))
    values[reduce.getResult()] = {foldWarp(sum, reduce.getKind() == moe::ReduceKind::sum),
                                  tensor(reduce.getResult()).getElementType()};
}

Value CudaRowsLowering::foldLane(const RowRun &x, Value begin, int64_t count, bool sum,
                                 llvm::function_ref<Value(Value)> map) {
  return runs.fold(count, {neutral(sum)}, [&](Values acc, ArrayRef<Value> columns, Value valid) -> Values {
    Values loaded;
    for (Value n : columns)
      loaded.push_back(loadElement(e, x, begin ? e.add(begin, n) : n));
    for (Value v : loaded) {
      v = map ? map(v) : v;
      acc[0] = join(sum, acc[0], valid ? e.select(valid, v, neutral(sum)) : v);
    }
    return acc;
  })[0];
}

void CudaRowsLowering::lowerReduce(moe::ReduceOp reduce) {
  const RowRun x = values[reduce.getInput()];
  bool sum = reduce.getKind() == moe::ReduceKind::sum;
  if (!reduce.getSegments()) {
    values[reduce.getResult()] = {foldWarp(foldLane(x, Value(), x.count, sum), sum), x.element};
    return;
  }
  RowRun out = place(reduce.getResult());
  reduceSegments(x, out, int64_t(*reduce.getSegments()), sum);
  values[reduce.getResult()] = out;
}

// Few long segments: the warp takes 8 at a time, whose shuffles overlap. Else a lane takes a segment, element by
// element.
void CudaRowsLowering::reduceSegments(const RowRun &x, const RowRun &out, int64_t segments, bool sum) {
  int64_t length = x.count / segments;
  if (segments <= cudaWarpThreads && length >= 16) {
    for (int64_t first = 0; first < segments; first += 8) {
      Values acc;
      for (int64_t s = first; s < std::min(first + 8, segments); ++s)
        acc.push_back(foldLane(x, e.c(s * length), length, sum));
      runs.joinLanes(acc, [&](Value a, Value v) { return join(sum, a, v); });
      byFirstLane([&] {
        for (auto [i, v] : llvm::enumerate(acc))
          storeElement(e, out, e.c(first + int64_t(i)), v);
      });
    }
    return;
  }
  runs.forEach(segments, [&](ArrayRef<Value> columns) {
    for (Value s : columns) {
      auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(length), e.c(1), ValueRange{neutral(sum)});
      {
        OpBuilder::InsertionGuard guard(e.b);
        e.b.setInsertionPointToEnd(loop.getBody());
        Value v = loadElement(e, x, e.add(e.mul(s, length), loop.getInductionVar()));
        scf::YieldOp::create(e.b, e.loc, join(sum, loop.getRegionIterArg(0), v));
      }
      storeElement(e, out, s, loop.getResult(0));
    }
  });
}

// Three passes over x; exponentials are computed twice rather than kept.
void CudaRowsLowering::lowerSoftmax(moe::SoftmaxOp softmax) {
  const RowRun x = values[softmax.getInput()];
  RowRun out = place(softmax.getResult());
  int64_t segments = int64_t(softmax.getSegments().value_or(1)), length = x.count / segments;
  auto one = [&](Value begin) {
    Value top = foldWarp(foldLane(x, begin, length, false), false);
    auto shiftedExp = [&](Value v) -> Value {
      return math::ExpOp::create(e.b, e.loc, arith::SubFOp::create(e.b, e.loc, v, top));
    };
    Value sum = foldWarp(foldLane(x, begin, length, true, shiftedExp), true);
    runs.forEach(length, [&](ArrayRef<Value> columns) {
      Values places, loaded;
      for (Value n : columns) {
        places.push_back(begin ? e.add(begin, n) : n);
        loaded.push_back(loadElement(e, x, places.back()));
      }
      for (auto [n, v] : llvm::zip(places, loaded))
        storeElement(e, out, n, e.div(shiftedExp(v), sum));
    });
  };
  if (segments == 1)
    one(Value());
  else
    e.loop(e.c(0), e.c(segments), 1, [&](Value s) { one(e.mul(s, length)); });
  values[softmax.getResult()] = out;
}

void CudaRowsLowering::lowerColumns(moe::ColumnsOp columns) {
  if (auto numbers = columns.getNumbers()) { // a constant of the image, the same for all rows
    values[columns.getResult()] = {e.numberTable(*numbers, 0, 1), e.i32(), int64_t(numbers->size()), 4, -1, 4};
    return;
  }
  RowRun out = place(columns.getResult());
  runs.forEach(out.count, [&](ArrayRef<Value> own) {
    for (Value n : own)
      storeElement(e, out, n, e.toI32(n));
  });
  values[columns.getResult()] = out;
}

// In the CPU's order, by one lane: rows of choices are short.
void CudaRowsLowering::lowerPrefixSum(moe::PrefixSumOp prefix) {
  const RowRun x = values[prefix.getInput()];
  RowRun out = place(prefix.getResult());
  byFirstLane([&] {
    auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(x.count), e.c(1), ValueRange{e.f(0)});
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Value n = loop.getInductionVar(), before = loop.getRegionIterArg(0), next = e.addF(before, loadElement(e, x, n));
    storeElement(e, out, n, before);
    scf::YieldOp::create(e.b, e.loc, next);
  });
  values[prefix.getResult()] = out;
}

void CudaRowsLowering::lowerLookup(moe::LookupOp lookup) {
  RowRun table = values[lookup.getTable()];
  Value index = e.toI64(values[lookup.getIndex()].value);
  Value inside = e.compare(arith::CmpIPredicate::ult, index, e.c(tensor(lookup.getTable()).getDimSize(0)));
  table.value = e.at(table.value, e.mul(e.select(inside, index, e.c(0)), table.stride)); // row 0 always exists
  RowRun out = place(lookup.getResult());
  runs.forEach(out.count, [&](ArrayRef<Value> columns) {
    Values loaded;
    for (Value n : columns)
      loaded.push_back(loadElement(e, table, n));
    for (auto [n, v] : llvm::zip(columns, loaded))
      storeElement(e, out, n, e.select(inside, v, e.f(-1)));
  });
  values[lookup.getResult()] = out;
}

void CudaRowsLowering::lowerTopK(moe::TopKOp top) {
  const RowRun x = values[top.getChoice()];
  RowRun ids = place(top.getIds());
  int64_t segments = int64_t(top.getSegments().value_or(1));
  TopKShape shape = {segments, x.count / segments, int64_t(top.getK())};
  if (shape.keysInRegisters()) {
    emitTopK(e, runs, shape, x, ids);
  } else {
    RowRun keys = allocate(e.i32(), x.count);
    emitLongTopK(e, runs, shape, x, keys, ids);
    memory.release(keys.offset);
    touched = true; // the next op may get this memory
  }
  values[top.getIds()] = ids;
}

void CudaRowsLowering::lowerMember(moe::MemberOp member) {
  const RowRun ids = values[member.getIds()];
  RowRun mask = place(member.getMask());
  runs.forEach(mask.count, [&](ArrayRef<Value> columns) {
    for (Value n : columns) {
      Value none = arith::ConstantIntOp::create(e.b, e.loc, e.i1(), 0), column = e.toI32(n);
      auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(ids.count), e.c(1), ValueRange{none});
      {
        OpBuilder::InsertionGuard guard(e.b);
        e.b.setInsertionPointToEnd(loop.getBody());
        Value hit = e.equal(loadElement(e, ids, loop.getInductionVar()), column);
        scf::YieldOp::create(e.b, e.loc, e.either(loop.getRegionIterArg(0), hit));
      }
      storeElement(e, mask, n, loop.getResult(0));
    }
  });
  values[member.getMask()] = mask;
}

void CudaRowsLowering::lowerTake(moe::TakeOp take) {
  const RowRun x = values[take.getInput()], ids = values[take.getIds()];
  RowRun out = place(take.getResult());
  runs.forEach(ids.count, [&](ArrayRef<Value> columns) {
    for (Value j : columns) {
      Value id = e.toI64(loadElement(e, ids, j));
      Value inside = e.compare(arith::CmpIPredicate::ult, id, e.c(x.count));
      Value v = loadElement(e, x, e.select(inside, id, e.c(0))); // column 0 always exists
      storeElement(e, out, j, e.select(inside, v, x.element.isInteger(32) ? e.c32(0) : e.f(0)));
    }
  });
  values[take.getResult()] = out;
}

// Every column looks through the ids, so that no two lanes add to one word.
void CudaRowsLowering::lowerPut(moe::PutOp put) {
  const RowRun v = values[put.getInput()], ids = values[put.getIds()];
  RowRun out = place(put.getResult());
  runs.forEach(out.count, [&](ArrayRef<Value> columns) {
    for (Value n : columns) {
      Value column = e.toI32(n);
      auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(ids.count), e.c(1), ValueRange{e.f(0)});
      {
        OpBuilder::InsertionGuard guard(e.b);
        e.b.setInsertionPointToEnd(loop.getBody());
        Value j = loop.getInductionVar(), sum = loop.getRegionIterArg(0);
        Value added = e.addF(sum, loadElement(e, v, j));
        scf::YieldOp::create(e.b, e.loc, e.select(e.equal(loadElement(e, ids, j), column), added, sum));
      }
      storeElement(e, out, n, loop.getResult(0));
    }
  });
  values[put.getResult()] = out;
}

void CudaRowsLowering::lowerGather(moe::GatherOp gather) {
  auto [token, slot, choice] = routes[gather.getRoute()];
  RowRun x = values[gather.getInput()];
  if (tensor(gather.getResult()).getRank() == 1) {
    Value p = e.at(x.value, e.mul(gather.bySlot() ? slot : token, size(x.element)));
    values[gather.getResult()] = {e.load(x.element, p, unsigned(size(x.element))), x.element};
    return;
  }
  if (gather.bySlot()) { // slot = token * K + choice
    int64_t bytes = size(x.element), own = gather.slotColumns() * bytes;
    x.value = e.at(x.value, e.add(e.mul(token, x.stride - x.count * bytes), e.mul(slot, own)));
    x.count = tensor(gather.getResult()).getDimSize(1);
    x.align = own % 16 ? bytes : x.align;
  } else {
    x.value = e.at(x.value, e.mul(token, x.stride));
  }
  values[gather.getResult()] = x;
}

// Row scope * S + slot; row_token is the first token of the row's scope. The caller's masks need be aligned to 4 bytes
// only.
void CudaRowsLowering::lowerSlotRows(moe::SlotRowsOp op) {
  const RouteRow &own = routes[op.getRoute()];
  RowRun x = values[op.getInput()];
  Value from = own.choice;
  if (auto numbers = op.getNumbers())
    from = e.toI64(e.load(e.i32(), e.at(e.numberTable(*numbers, 0, 1), e.mul(from, 4)), 4));
  if (op.getScope() == moe::Scope::sequence) {
    Value scope = arith::DivUIOp::create(e.b, e.loc, own.token, sequenceTokens);
    from = e.add(e.mul(scope, int64_t(op.getSlots())), from);
  }
  x.value = e.at(x.value, e.mul(from, x.stride));
  x.count = tensor(op.getResult()).getDimSize(1);
  x.align = size(x.element);
  values[op.getResult()] = x;
}

void CudaRowsLowering::storeResult(Value result, Value buffer, int64_t stride) {
  const RowRun &v = values[result];
  Value to = e.at(buffer, e.mul(row, stride));
  int64_t bytes = v.count * size(v.element);
  if (v.count == 0) {
    byFirstLane([&] { e.store(v.value, to, unsigned(size(v.element))); });
    return;
  }
  if (v.align == 16 && bytes % 16 == 0 && stride % 16 == 0) {
    copyWide(to, v.value, bytes);
    return;
  }
  RowRun out = {to, v.element, v.count, size(v.element), -1, size(v.element)};
  runs.forEach(v.count, [&](ArrayRef<Value> columns) {
    Values loaded;
    for (Value n : columns)
      loaded.push_back(loadElement(e, v, n));
    for (auto [n, x] : llvm::zip(columns, loaded))
      storeElement(e, out, n, x);
  });
}

// A row that stays as it is: 16 bytes per lane and step.
void CudaRowsLowering::copyWide(Value to, Value from, int64_t bytes) {
  Type four = e.vec(e.i32(), 4);
  runs.forEach(bytes / 16, [&](ArrayRef<Value> columns) {
    Values loaded;
    for (Value n : columns)
      loaded.push_back(e.load(four, e.at(from, e.mul(n, 16)), 16));
    for (auto [n, x] : llvm::zip(columns, loaded))
      e.store(x, e.at(to, e.mul(n, 16)), 16);
  });
}

} // namespace

bool readsSequence(moe::RowProgramOp op) {
  return llvm::any_of(op.getBody().front().getOps<moe::SlotRowsOp>(),
                      [](moe::SlotRowsOp rows) { return rows.getScope() == moe::Scope::sequence; });
}

int64_t emitCudaRowProgram(CudaEmitter &e, CudaKernelShell &shell, moe::RowProgramOp op, const RowStrides &strides,
                           const RowProgramArgs<Value> &args, int64_t threads, int64_t mostBytes) {
  return CudaRowsLowering(e, op, strides).within(shell, args, threads, mostBytes);
}

CudaKernelFacts lowerCudaRowProgram(moe::RowProgramOp op, const RowStrides &strides, int64_t sm, ModuleOp module,
                                    StringRef symbol) {
  return CudaRowsLowering(op, strides).run(module, symbol, sm);
}

} // namespace moec
