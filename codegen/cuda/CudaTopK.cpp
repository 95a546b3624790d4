// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// k rounds of the warp's largest key. Keys of short segments stay in registers, and several segments go through a round
// together because one alone would wait for its shuffles.

#include "codegen/cuda/CudaTopK.h"

#include <cstdint>

using namespace mlir;

namespace moec {

Value loadElement(CudaEmitter &e, const RowRun &run, Value n) {
  bool flag = run.element.isInteger(1);
  Type type = flag ? e.i32() : run.element;
  unsigned bytes = type.getIntOrFloatBitWidth() / 8;
  Value x = e.load(type, e.at(run.value, e.mul(n, run.pitch)), bytes);
  return flag ? e.compare(arith::CmpIPredicate::ne, x, e.c32(0)) : x;
}

void storeElement(CudaEmitter &e, const RowRun &run, Value n, Value x) {
  if (run.element.isInteger(1))
    x = arith::ExtUIOp::create(e.b, e.loc, e.i32(), x);
  e.store(x, e.at(run.value, e.mul(n, run.pitch)), x.getType().getIntOrFloatBitWidth() / 8);
}

static Value orderedKey(CudaEmitter &e, Value x) {
  Value v = e.addF(x, e.f(0));
  Value bits = e.bitcast(v, e.i32());
  Value sign = arith::ShRSIOp::create(e.b, e.loc, bits, e.c32(31));
  Value ordered = arith::XOrIOp::create(e.b, e.loc, bits, e.both(sign, e.c32(INT32_MAX)));
  return e.select(e.compare(arith::CmpFPredicate::UNO, v, v), e.c32(INT32_MIN + 1), ordered);
}

// Keys of this lane's columns of the segment at `begin`; INT_MIN past its end.
static CudaEmitter::Values laneKeys(CudaEmitter &e, RunWalker &runs, const TopKShape &shape, const RowRun &x,
                                    Value begin) {
  CudaEmitter::Values keys;
  for (int64_t i = 0; i < shape.perLane(); ++i) {
    Value column = e.add(runs.lane, e.c(i * cudaWarpThreads));
    if ((i + 1) * cudaWarpThreads <= shape.length) {
      keys.push_back(orderedKey(e, loadElement(e, x, e.add(begin, column))));
      continue;
    }
    Value inside = e.less(column, e.c(shape.length));
    Value key = orderedKey(e, loadElement(e, x, e.add(begin, e.select(inside, column, e.c(0)))));
    keys.push_back(e.select(inside, key, e.c32(INT32_MIN)));
  }
  return keys;
}

// One round over `keys`, the keys of all segments of a batch one after the other: winners[s] = column in segment s,
// whose key is INT_MIN afterwards.
static CudaEmitter::Values takeLargest(CudaEmitter &e, RunWalker &runs, const TopKShape &shape,
                                       MutableArrayRef<Value> keys) {
  int64_t perLane = shape.perLane(), batch = int64_t(keys.size()) / perLane;
  Value lane = e.toI32(runs.lane);
  CudaEmitter::Values columns, best, winners;
  for (int64_t i = 0; i < perLane; ++i)
    columns.push_back(e.add(lane, e.c32(int32_t(i * cudaWarpThreads))));
  for (int64_t s = 0; s < batch; ++s) {
    Value top = keys[s * perLane], at = columns[0];
    for (int64_t i = 1; i < perLane; ++i) {
      Value larger = e.compare(arith::CmpIPredicate::sgt, keys[s * perLane + i], top);
      top = e.select(larger, keys[s * perLane + i], top);
      at = e.select(larger, columns[i], at);
    }
    best.push_back(top);
    winners.push_back(at);
  }
  runs.largestOfLanes(best, winners);
  for (int64_t s = 0; s < batch; ++s)
    for (int64_t i = 0; i < perLane; ++i) {
      Value &key = keys[s * perLane + i];
      key = e.select(e.equal(columns[i], winners[s]), e.c32(INT32_MIN), key);
    }
  return winners;
}

// Segments of a batch: a divisor of their number, 8 at most, 16 keys per lane at most.
static int64_t batchOf(const TopKShape &shape) {
  int64_t batch = std::min<int64_t>(8, std::max<int64_t>(1, 16 / shape.perLane()));
  while (shape.segments % batch)
    --batch;
  return batch;
}

void emitTopK(CudaEmitter &e, RunWalker &runs, const TopKShape &shape, const RowRun &x, const RowRun &ids) {
  int64_t batch = batchOf(shape);
  e.loop(e.c(0), e.c(shape.segments), batch, [&](Value first) {
    CudaEmitter::Values keys;
    for (int64_t s = 0; s < batch; ++s)
      llvm::append_range(keys, laneKeys(e, runs, shape, x, e.mul(e.add(first, e.c(s)), shape.length)));
    auto rounds = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(shape.k), e.c(1), keys);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(rounds.getBody());
    keys = CudaEmitter::Values(rounds.getRegionIterArgs());
    CudaEmitter::Values winners = takeLargest(e, runs, shape, keys);
    e.when(e.equal(runs.lane, e.c(0)), [&] {
      for (int64_t s = 0; s < batch; ++s) {
        Value segment = e.add(first, e.c(s));
        Value column = e.add(winners[s], e.toI32(e.mul(segment, shape.length)));
        storeElement(e, ids, e.add(e.mul(segment, shape.k), rounds.getInductionVar()), column);
      }
    });
    scf::YieldOp::create(e.b, e.loc, keys);
  });
}

// A column belongs to one lane for good, so that only its owner reads and clears its key.
void emitLongTopK(CudaEmitter &e, RunWalker &runs, const TopKShape &shape, const RowRun &x, const RowRun &keys,
                  const RowRun &ids) {
  using Values = CudaEmitter::Values;
  e.loop(e.c(0), e.c(shape.segments), 1, [&](Value s) {
    Value begin = e.mul(s, shape.length);
    runs.forEach(shape.length, [&](ArrayRef<Value> columns) {
      for (Value n : columns)
        storeElement(e, keys, e.add(begin, n), orderedKey(e, loadElement(e, x, e.add(begin, n))));
    });
    e.loop(e.c(0), e.c(shape.k), 1, [&](Value j) {
      auto step = [&](Values acc, ArrayRef<Value> columns, Value valid) -> Values {
        Values loaded;
        for (Value n : columns) {
          // lanes past the end look at their own first column again, which changes nothing
          Value own = valid ? e.select(valid, n, runs.lane) : n;
          loaded.push_back(loadElement(e, keys, e.add(begin, own)));
        }
        for (auto [n, key] : llvm::zip(columns, loaded))
          runs.keepLarger(acc[0], acc[1], valid ? e.select(valid, key, e.c32(INT32_MIN)) : key, e.toI32(n));
        return acc;
      };
      Values top = runs.fold(shape.length, {e.c32(INT32_MIN), e.c32(INT32_MAX)}, step);
      runs.largestOfLanes(MutableArrayRef(top).take_front(1), MutableArrayRef(top).drop_front(1));
      Value where = e.toI64(top[1]);
      e.when(e.equal(e.remU(where, cudaWarpThreads), runs.lane),
             [&] { storeElement(e, keys, e.add(begin, where), e.c32(INT32_MIN)); });
      e.when(e.equal(runs.lane, e.c(0)),
             [&] { storeElement(e, ids, e.add(e.mul(s, shape.k), j), e.toI32(e.add(begin, where))); });
    });
  });
}

} // namespace moec
