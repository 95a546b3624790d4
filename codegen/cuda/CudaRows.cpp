// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of a row program: where they are, what they share, and the order of their ops.

#include "codegen/cuda/CudaRowsLowering.h"

#include "codegen/moe/LayerInputs.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace moec {

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
