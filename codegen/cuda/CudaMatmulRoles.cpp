// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Producer and consumers around a ring with mbarriers, behind its slots: full[s] at 16 s, empty[s] at 16 s + 8.
//
//     full[s]    arrivals: 128 producer threads, when their share of A is in shared memory and visible to wgmma, and
//                one with the bytes of B; where A comes by TMA too, one with the bytes of both. Step q completes phase
//                q / stages.
//     empty[s]   arrivals: one lane of every consumer warp, once wgmma of the step is done
//
// A wait for the phase before the first returns at once, which is how the producer finds its first slots empty.

#include "codegen/cuda/CudaMatmulLowering.h"

using namespace mlir;

namespace moec {

// 384 threads begin with 168 registers each, 64,512 in all. Consumers hold up to 128 sums; the producer holds the
// addresses of 8 rows, for which 56 are too few.
static constexpr int64_t producerRegisters = 88, consumerRegisters = 208;

Value CudaMatmulLowering::turn(Value step) { return div32(e.toI32(step), stages); }

Value CudaMatmulLowering::barrier(Value step, bool full) {
  Value slot = rem32(e.toI32(step), stages);
  return e.at(shared, e.toI64(add32(mul32(slot, 16), stages * slotBytes() + (full ? 0 : 8))));
}

// Two consumer warpgroups with 128 sums a thread need registers that the producer's threads do not. Kernels that have
// enough anyway must not ask: ptxas ignores setmaxnreg where it is free to choose fewer, and says so (C7508).
void CudaMatmulLowering::lowerRoles(tile::RolesOp op) {
  initialiseBarriers();
  bool moveRegisters = consumers == 2 && b.rows > 192;
  Value isProducer = e.compare(arith::CmpIPredicate::ult, tid, e.c32(warpgroup_threads));
  e.when(
      isProducer,
      [&] {
        if (moveRegisters)
          e.setMaxNreg(producerRegisters, false);
        if (early > 1) {
          askForWeights();
          waitForPredecessor();
        }
        if (contiguous) // kernels before stored the rows that TMA reads
          e.when(e.equal(tid, e.c32(0)), [&] { e.fenceAsyncGlobal(); });
        lowerBlock(op.getProducer().front());
      },
      [&] {
        if (moveRegisters)
          e.setMaxNreg(consumerRegisters, true);
        if (early > 1)
          waitForPredecessor();
        lowerBlock(op.getConsumer().front());
      });
}

void CudaMatmulLowering::initialiseBarriers() {
  e.when(e.equal(tid, e.c32(0)), [&] {
    for (int64_t s = 0; s < stages; ++s) {
      e.mbarInit(barrier(e.c(s), true), e.c32(int32_t(contiguous ? 1 : warpgroup_threads + 1)));
      e.mbarInit(barrier(e.c(s), false), e.c32(int32_t(4 * consumers)));
    }
    e.fenceMbarInit();
    e.tmaPrefetch(args.stage.b);
    if (contiguous)
      e.tmaPrefetch(args.stage.a);
    if (mode.joined)
      e.tmaPrefetch(args.joined->b);
  });
  e.barrier(0, threads());
}

void CudaMatmulLowering::lowerFill(tile::FillOp op) {
  Value step = e.toI64(value(op.getStep())), q = e.add(tile.step0, step);
  Value odd = arith::AndIOp::create(e.b, e.loc, turn(q), e.c32(1));
  auto wait = [&] { e.mbarWait(barrier(q, false), arith::XOrIOp::create(e.b, e.loc, odd, e.c32(1))); };
  if (contiguous) // the other threads have nothing to do
    return e.when(e.equal(tid, e.c32(0)), [&] {
      wait();
      loadByTma(step, q);
    });
  wait();
  e.when(e.equal(tid, e.c32(0)), [&] { loadByTma(step, q); });
  copyA(step, slotAddress(q, a));
  e.cpAsyncCommit();
  Value told = e.sub(q, e.c(lag));
  e.when(e.less(e.c(-1), told), [&] {
    e.cpAsyncWait(lag);
    sayFull(told);
  });
}

// By one thread: what TMA brings of step `step` into the slot of step q of the block, except weights that were asked
// for.
void CudaMatmulLowering::loadByTma(Value step, Value q) {
  auto weights = [&] {
    expectBytes(q);
    loadWeights(step, q);
  };
  asksEarly() ? e.when(wasAsked(q), [] {}, weights) : weights();
  if (contiguous)
    loadRows(step, q);
}

// The one arrival of the thread that asks TMA, with the bytes of all it will ask for.
void CudaMatmulLowering::expectBytes(Value q) {
  e.mbarExpect(barrier(q, true), e.c32(int32_t(b.rows * b.rowBytes + (contiguous ? a.rows * a.rowBytes : 0))));
}

void CudaMatmulLowering::loadRows(Value step, Value q) {
  Value x = e.toI32(e.mul(step, a.rowBytes / a.elementBytes()));
  e.tmaLoad3d(slotAddress(q, a), stage.a, {x, e.toI32(tile.row0), e.c32(0)}, barrier(q, true));
}

void CudaMatmulLowering::loadWeights(Value step, Value q) {
  Value full = barrier(q, true), slot = slotAddress(q, b);
  Value x = e.toI32(e.mul(step, b.rowBytes / b.elementBytes())), y = e.toI32(tile.column0);
  for (int64_t part = 0; part < parts; ++part) {
    Value z = e.toI32(e.add(e.mul(tile.group, parts), e.c(part)));
    Value to = e.at(slot, part * columns() * b.rowBytes);
    auto load = [&](Value map) { e.tmaLoad3d(to, map, {x, y, z}, full); };
    if (mode.joined)
      e.when(tile.isSecond, [&] { load(args.joined->b); }, [&] { load(args.stage.b); });
    else
      load(stage.b);
  }
}

// This thread's copies of step `step` are done: wgmma, which reads by the asynchronous proxy, may see them.
void CudaMatmulLowering::sayFull(Value step) {
  e.fenceAsync();
  e.mbarArrive(barrier(step, true));
}

void CudaMatmulLowering::lowerFlush() {
  if (contiguous) // TMA completes full by itself
    return;
  e.cpAsyncWait(0);
  for (int64_t i = lag; i >= 1; --i) {
    Value step = e.sub(steps, e.c(i));
    e.when(e.less(e.c(-1), step), [&] { sayFull(step); });
  }
}

// Register of wgmma that is sum (i, j) of a part: one instruction's order is (8 of its columns, half of its rows, one
// of two columns). With columns first there is an instruction a part, whose rows are our columns.
int64_t CudaMatmulLowering::instructionIndex(int64_t part, int64_t i, int64_t j) const {
  if (columnsFirst)
    return part * a.rows / 2 + (i / 2 * 2 + j) * 2 + i % 2;
  return ((part * columns() / 8 + j / 2) * 2 + i) * 2 + j % 2;
}

// Sums in the order of the fragment <-> in the order of the instructions' registers.
CudaMatmulLowering::Values CudaMatmulLowering::permuted(const Values &acc, bool toInstruction) {
  Values out(acc.size());
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t i = 0; i < fragmentRows(); ++i)
      for (int64_t j = 0; j < fragmentColumns(); ++j) {
        size_t own = size_t(accumulatorIndex(part, i, j)), instruction = size_t(instructionIndex(part, i, j));
        out[toInstruction ? instruction : own] = acc[toInstruction ? own : instruction];
      }
  return out;
}

// Descriptor of rows of 128 bytes in 128-byte swizzle: start and the distance of 8 rows, 1024 bytes, in units of 16.
static Value descriptor(CudaEmitter &e, Value address) {
  Value bits = LLVM::PtrToIntOp::create(e.b, e.loc, e.i32(), address);
  bits = arith::AndIOp::create(e.b, e.loc, bits, e.c32(0x3ffff));
  Value start = e.unsignedI64(arith::ShRUIOp::create(e.b, e.loc, bits, e.c32(4)));
  return arith::OrIOp::create(e.b, e.loc, start, e.c(int64_t(1ull << 62 | 64ull << 32 | 1ull << 16)));
}

CudaMatmulLowering::Values CudaMatmulLowering::consume(const Values &acc, Value step) {
  Value q = e.add(tile.step0, step);
  e.mbarWait(barrier(q, true), arith::AndIOp::create(e.b, e.loc, turn(q), e.c32(1)));
  Values sums = multiplyAsync(e.wgmmaFence(permuted(acc, true)), q);
  e.wgmmaCommit();
  sums = e.wgmmaWait(1, sums);
  e.when(e.less(e.c(0), step), [&] { giveBack(e.sub(q, e.c(1))); });
  return permuted(sums, false);
}

// The instructions of the slot of step q: 64 rows of A and all columns, or, columns first, 64 columns of each part and
// all rows.
CudaMatmulLowering::Values CudaMatmulLowering::multiplyAsync(Values sums, Value q) {
  Value warpgroup = div32(columnsFirst ? warpN : warpM, 4), rows = e.toI64(mul32(warpgroup, 64 * a.rowBytes));
  auto issue = [&](int64_t n, Values acc, Value first, Value second) {
    for (int64_t depth = 0; depth < a.rowBytes / 32; ++depth)
      acc = e.wgmma(n, a.element, acc, e.add(first, e.c(2 * depth)), e.add(second, e.c(2 * depth)), e.c32(1));
    return acc;
  };
  if (!columnsFirst)
    return issue(b.rows, sums, descriptor(e, e.at(slotAddress(q, a), rows)), descriptor(e, slotAddress(q, b)));
  Values out;
  size_t count = size_t(a.rows) / 2;
  for (int64_t part = 0; part < parts; ++part) {
    Value first = e.at(e.at(slotAddress(q, b), rows), part * columns() * b.rowBytes);
    Values own(llvm::ArrayRef(sums).slice(size_t(part) * count, count));
    out.append(issue(a.rows, own, descriptor(e, first), descriptor(e, slotAddress(q, a))));
  }
  return out;
}

CudaMatmulLowering::Values CudaMatmulLowering::finish(const Values &acc) {
  Values sums = e.wgmmaWait(0, permuted(acc, true));
  giveBack(e.add(tile.step0, e.c(kSteps - 1)));
  return permuted(sums, false);
}

// A consumer whose 64 rows all lie behind the tile's last.
bool CudaMatmulLowering::returnsVacant(tile::ForTilesOp op) const {
  auto roles = dyn_cast<tile::RolesOp>(op->getParentOp());
  return roles && op->getParentRegion() == &roles.getConsumer() && vacantReturns && consumers > 1;
}

// Each slot as it fills: an arrival ahead of it would count for the turn before. A lane that still looks at the barrier
// must see this turn's phase, so the warp leaves the wait together before one of it arrives.
void CudaMatmulLowering::returnSlots() {
  e.loop(e.c(0), e.c(kSteps), 1, [&](Value step) {
    Value q = e.add(tile.step0, step);
    e.mbarWait(barrier(q, true), arith::AndIOp::create(e.b, e.loc, turn(q), e.c32(1)));
    e.warpSync();
    giveBack(q);
  });
}

void CudaMatmulLowering::giveBack(Value step) {
  e.when(e.equal(lane, e.c32(0)), [&] { e.mbarArrive(barrier(step, false)); });
}

} // namespace moec
