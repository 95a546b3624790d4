// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks over runs: short ones are written out, long ones loop, four elements of a lane per step either way.

#include "codegen/cuda/CudaRun.h"

using namespace mlir;

namespace moec {

static constexpr int64_t batch = 4;      // elements of a lane in flight
static constexpr int64_t writtenOut = 8; // elements of a lane up to which no loop is made

int64_t SharedRuns::allocate(int64_t bytes) {
  bytes = (bytes + 15) / 16 * 16;
  int64_t offset = 0;
  auto place = used.begin();
  for (; place != used.end() && place->first - offset < bytes; ++place)
    offset = place->second;
  used.insert(place, {offset, offset + bytes});
  highest = std::max(highest, offset + bytes);
  return offset;
}

void SharedRuns::release(int64_t offset) {
  llvm::erase_if(used, [&](auto &range) { return range.first == offset; });
}

// Steps of a run that is walked without a tail: {first step, steps, batch} pieces.
static int64_t loopedSteps(int64_t whole) { return whole > writtenOut ? whole / batch * batch : 0; }

void RunWalker::forEach(int64_t count, llvm::function_ref<void(ArrayRef<Value>)> body) {
  fold(count, {}, [&](Values, ArrayRef<Value> columns, Value valid) {
    if (valid)
      e.when(valid, [&] { body(columns); });
    else
      body(columns);
    return Values();
  });
}

RunWalker::Values RunWalker::fold(int64_t count, Values acc, Step body) {
  int64_t whole = count / cudaWarpThreads, rest = count % cudaWarpThreads, looped = loopedSteps(whole);
  auto columnsFrom = [&](Value first, int64_t steps) {
    Values columns;
    for (int64_t i = 0; i < steps; ++i)
      columns.push_back(e.add(first, e.c(i * cudaWarpThreads)));
    return columns;
  };
  if (looped) {
    auto loop =
        scf::ForOp::create(e.b, e.loc, e.c(0), e.c(looped * cudaWarpThreads), e.c(batch * cudaWarpThreads), acc);
    OpBuilder::InsertionGuard guard(e.b);
    if (acc.empty())
      e.b.setInsertionPoint(loop.getBody()->getTerminator());
    else
      e.b.setInsertionPointToEnd(loop.getBody());
    Values columns = columnsFrom(e.add(loop.getInductionVar(), lane), batch);
    Values next = body(Values(loop.getRegionIterArgs()), columns, Value());
    if (!acc.empty())
      scf::YieldOp::create(e.b, e.loc, next);
    acc = Values(loop.getResults());
  }
  for (int64_t step = looped; step < whole; step += batch) {
    Value first = e.add(lane, e.c(step * cudaWarpThreads));
    acc = body(acc, columnsFrom(first, std::min(batch, whole - step)), Value());
  }
  if (rest) {
    Value valid = e.less(lane, e.c(rest)), column = e.add(lane, e.c(whole * cudaWarpThreads));
    acc = body(acc, e.select(valid, column, e.c(0)), valid);
  }
  return acc;
}

void RunWalker::joinLanes(MutableArrayRef<Value> xs, llvm::function_ref<Value(Value, Value)> join) {
  for (int64_t mask = cudaWarpThreads / 2; mask; mask /= 2) {
    Values others;
    for (Value x : xs)
      others.push_back(e.shflBfly(x, mask));
    for (size_t i = 0; i < xs.size(); ++i)
      xs[i] = join(xs[i], others[i]);
  }
}

void RunWalker::keepLarger(Value &best, Value &at, Value key, Value column) {
  Value larger = e.compare(arith::CmpIPredicate::sgt, key, best);
  Value lower = e.both(e.equal(key, best), e.compare(arith::CmpIPredicate::slt, column, at));
  Value better = e.either(larger, lower);
  best = e.select(better, key, best);
  at = e.select(better, column, at);
}

void RunWalker::largestOfLanes(MutableArrayRef<Value> keys, MutableArrayRef<Value> columns) {
  for (int64_t mask = cudaWarpThreads / 2; mask; mask /= 2) {
    Values otherKeys, otherColumns;
    for (size_t i = 0; i < keys.size(); ++i) {
      otherKeys.push_back(e.shflBfly(keys[i], mask));
      otherColumns.push_back(e.shflBfly(columns[i], mask));
    }
    for (size_t i = 0; i < keys.size(); ++i)
      keepLarger(keys[i], columns[i], otherKeys[i], otherColumns[i]);
  }
}

} // namespace moec
