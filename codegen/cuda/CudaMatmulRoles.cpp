// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cuda/CudaMatmulRoles.h"

using namespace mlir;

namespace moec {

Value CudaMatmulRoles::barrier(Value step, bool full) const {
  Value slot = e.rem32(e.toI32(step), shape.stages);
  return e.at(block.shared, e.toI64(e.add32(e.mul32(slot, 16), shape.stages * shape.slotBytes() + (full ? 0 : 8))));
}

void CudaMatmulRoles::initialiseBarriers() {
  e.when(e.equal(block.tid, e.c32(0)), [&] {
    for (int64_t s = 0; s < shape.stages; ++s) {
      e.mbarInit(barrier(e.c(s), true), e.c32(int32_t(shape.byTma() ? 1 : cudaWarpgroupThreads + 1)));
      e.mbarInit(barrier(e.c(s), false), e.c32(int32_t(4 * shape.roles->consumers)));
    }
    e.fenceMbarInit();
    e.tmaPrefetch(tiles.args.stage.b);
    if (shape.byTma())
      e.tmaPrefetch(tiles.args.stage.a);
    if (shape.mode.joined)
      e.tmaPrefetch(tiles.args.joined->b);
  });
  e.barrier(0, shape.threads());
}

void CudaMatmulRoles::fill(Value step) {
  Value q = e.add(tiles.tile.step0, step);
  Value odd = arith::AndIOp::create(e.b, e.loc, block.turn(q), e.c32(1));
  auto wait = [&] { e.mbarWait(barrier(q, false), arith::XOrIOp::create(e.b, e.loc, odd, e.c32(1))); };
  if (shape.byTma()) // the other threads have nothing to do
    return e.when(e.equal(block.tid, e.c32(0)), [&] {
      wait();
      loadByTma(step, q);
    });
  wait();
  e.when(e.equal(block.tid, e.c32(0)), [&] { loadByTma(step, q); });
  copies.copyRows(step, block.slotAddress(q, shape.a));
  e.cpAsyncCommit();
  Value told = e.sub(q, e.c(shape.roles->lag));
  e.when(e.less(e.c(-1), told), [&] {
    e.cpAsyncWait(shape.roles->lag);
    sayFull(told);
  });
}

// By one thread: what TMA brings of step `step` into the slot of step q of the block, except weights that were asked
// for.
void CudaMatmulRoles::loadByTma(Value step, Value q) {
  auto weights = [&] {
    expectBytes(q);
    loadWeights(step, q);
  };
  shape.asksEarly() ? e.when(tiles.wasAsked(q), [] {}, weights) : weights();
  if (shape.byTma())
    loadRows(step, q);
}

// The one arrival of the thread that asks TMA, with the bytes of all it will ask for.
void CudaMatmulRoles::expectBytes(Value q) {
  e.mbarExpect(barrier(q, true), e.c32(int32_t(shape.b.bytes() + (shape.byTma() ? shape.a.bytes() : 0))));
}

void CudaMatmulRoles::loadRows(Value step, Value q) {
  Value x = e.toI32(e.mul(step, shape.a.rowBytes / shape.a.elementBytes()));
  e.tmaLoad3d(block.slotAddress(q, shape.a), tiles.stage.a, {x, e.toI32(tiles.tile.row0), e.c32(0)}, barrier(q, true));
}

// A box for the columns of each part, or, depth first, for each atom of them.
void CudaMatmulRoles::loadWeights(Value step, Value q) {
  Value full = barrier(q, true), slot = block.slotAddress(q, shape.b);
  Value depth = e.toI32(e.mul(step, shape.b.depth())), column0 = e.toI32(tiles.tile.column0);
  int64_t boxColumns = shape.b.depthFirst ? atomRows : shape.columns();
  for (int64_t box = 0; box < shape.b.rows / boxColumns; ++box) {
    int64_t part = box * boxColumns / shape.columns();
    Value column = e.add32(column0, box * boxColumns % shape.columns());
    Value z = e.toI32(e.add(e.mul(tiles.tile.group, shape.matrices), e.c(part)));
    Value to = e.at(slot, box * boxColumns * shape.b.rowBytes);
    auto load = [&](Value map) {
      shape.b.depthFirst ? e.tmaLoad3d(to, map, {column, depth, z}, full)
                         : e.tmaLoad3d(to, map, {depth, column, z}, full);
    };
    if (shape.mode.joined)
      e.when(tiles.tile.isSecond, [&] { load(tiles.args.joined->b); }, [&] { load(tiles.args.stage.b); });
    else
      load(tiles.stage.b);
  }
}

// This thread's copies of step `step` are done: wgmma, which reads by the asynchronous proxy, may see them.
void CudaMatmulRoles::sayFull(Value step) {
  e.fenceAsync();
  e.mbarArrive(barrier(step, true));
}

void CudaMatmulRoles::askForWeights(Value step) {
  expectBytes(step);
  loadWeights(step, step);
}

void CudaMatmulRoles::flush(Value steps) {
  if (shape.byTma()) // TMA completes full by itself
    return;
  e.cpAsyncWait(0);
  for (int64_t i = shape.roles->lag; i >= 1; --i) {
    Value step = e.sub(steps, e.c(i));
    e.when(e.less(e.c(-1), step), [&] { sayFull(step); });
  }
}

// Register of wgmma that is sum (i, j) of a part: one instruction's order is (8 of its columns, half of its rows, one
// of two columns). With columns first there is an instruction a part, whose rows are our columns.
int64_t CudaMatmulRoles::instructionIndex(int64_t part, int64_t i, int64_t j) const {
  if (shape.columnsFirst)
    return part * shape.a.rows / 2 + (i / 2 * 2 + j) * 2 + i % 2;
  return ((part * shape.columns() / 8 + j / 2) * 2 + i) * 2 + j % 2;
}

// Sums in the order of the fragment <-> in the order of the instructions' registers.
CudaMatmulRoles::Values CudaMatmulRoles::permuted(const Values &acc, bool toInstruction) {
  Values out(acc.size());
  for (int64_t part = 0; part < shape.parts; ++part)
    for (int64_t i = 0; i < shape.fragmentRows(); ++i)
      for (int64_t j = 0; j < shape.fragmentColumns(); ++j) {
        size_t own = size_t(shape.accumulatorIndex(part, i, j)), instruction = size_t(instructionIndex(part, i, j));
        out[toInstruction ? instruction : own] = acc[toInstruction ? own : instruction];
      }
  return out;
}

CudaMatmulRoles::Values CudaMatmulRoles::consume(const Values &acc, Value step) {
  Value q = e.add(tiles.tile.step0, step);
  e.mbarWait(barrier(q, true), arith::AndIOp::create(e.b, e.loc, block.turn(q), e.c32(1)));
  Values sums = multiplyAsync(e.wgmmaFence(permuted(acc, true)), q);
  e.wgmmaCommit();
  sums = e.wgmmaWait(1, sums);
  e.when(e.less(e.c(0), step), [&] { giveBack(e.sub(q, e.c(1))); });
  return permuted(sums, false);
}

// The instructions of the slot of step q: 64 rows of A and all columns, or, columns first, 64 columns of each part and
// all rows.
CudaMatmulRoles::Values CudaMatmulRoles::multiplyAsync(Values sums, Value q) {
  Value warpgroup = e.div32(shape.columnsFirst ? block.warpN : block.warpM, 4),
        rows = e.toI64(e.mul32(warpgroup, 64 * shape.a.rowBytes)); // 64 rows, and 64 columns, of either order
  // 16 elements of depth: 32 bytes of a row, or 16 lines of an atom
  auto perStep = [](const SlotSide &side) { return side.depthFirst ? 16 * 128 / 16 : 32 / 16; };
  auto issue = [&](int64_t n, Values acc, const SlotSide &one, Value first, const SlotSide &two, Value second) {
    for (int64_t depth = 0; depth < shape.a.rowBytes / 32; ++depth)
      acc = e.wgmma(n, shape.a.element, acc, e.add(first, e.c(perStep(one) * depth)),
                    e.add(second, e.c(perStep(two) * depth)), e.c32(1), one.depthFirst, two.depthFirst);
    return acc;
  };
  if (!shape.columnsFirst)
    return issue(shape.b.rows, sums, shape.a, wgmmaDescriptor(e, shape.a, e.at(block.slotAddress(q, shape.a), rows)),
                 shape.b, wgmmaDescriptor(e, shape.b, block.slotAddress(q, shape.b)));
  Values out;
  size_t count = size_t(shape.a.rows) / 2;
  for (int64_t part = 0; part < shape.parts; ++part) {
    Value first = e.at(e.at(block.slotAddress(q, shape.b), rows), part * shape.columns() * shape.b.rowBytes);
    Values own(llvm::ArrayRef(sums).slice(size_t(part) * count, count));
    out.append(issue(shape.a.rows, own, shape.b, wgmmaDescriptor(e, shape.b, first), shape.a,
                     wgmmaDescriptor(e, shape.a, block.slotAddress(q, shape.a))));
  }
  return out;
}

CudaMatmulRoles::Values CudaMatmulRoles::finish(const Values &acc) {
  Values sums = e.wgmmaWait(0, permuted(acc, true));
  giveBack(e.add(tiles.tile.step0, e.c(shape.kSteps - 1)));
  return permuted(sums, false);
}

// Each slot as it fills: an arrival ahead of it would count for the turn before. A lane that still looks at the barrier
// must see this turn's phase, so the warp leaves the wait together before one of it arrives.
void CudaMatmulRoles::returnSlots() {
  e.loop(e.c(0), e.c(shape.kSteps), 1, [&](Value step) {
    Value q = e.add(tiles.tile.step0, step);
    e.mbarWait(barrier(q, true), arith::AndIOp::create(e.b, e.loc, block.turn(q), e.c32(1)));
    e.warpSync();
    giveBack(q);
  });
}

void CudaMatmulRoles::giveBack(Value step) {
  e.when(e.equal(block.lane, e.c32(0)), [&] { e.mbarArrive(barrier(step, false)); });
}

} // namespace moec
