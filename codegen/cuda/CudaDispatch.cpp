// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stable counting sort of slots by id. Slots are cut into parts; part p has its own counters, so that
//
//     row(slot) = offsets[g] + sum_{p' < p} count[p'][g] + (slots of group g before it in part p)
//
// needs no order between threads. In a block a part is what one warp walks, 32 slots at a time: match_any tells a lane
// which lanes have its group, and the lowest of them moves the part's counter. With more slots the parts are cut twice,
// into the shares of 128 blocks (counted and placed by kernels of their own) and these into warps.
//
//     shared memory   | counters [warps][G] | first [G+1] | item0 [G] | 32 words per block-wide sum |
//
// Ranks within a part wait in slot_row until rows are known.

#include "codegen/cuda/CudaDispatch.h"

#include <algorithm>

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t mostThreads = 1024, mostWarps = mostThreads / cudaWarpThreads;
constexpr int64_t shares = 128; // blocks that count and place
constexpr int64_t batch = 4;    // loads of a lane in flight

class DispatchLowering {
public:
  DispatchLowering(const CudaDispatchShape &shape, Location loc, ModuleOp module, bool gridWide)
      : e(OpBuilder(loc.getContext()), loc), shape(shape), module(module), G(shape.groups) {
    int64_t mostOfOne = cudaDispatchOneBlockSlots / shape.choices;
    firstToken = gridWide ? mostOfOne + 1 : 0, lastToken = gridWide ? INT64_MAX : mostOfOne;
    limitCounters();
  }
  // Inside another kernel.
  DispatchLowering(const CudaDispatchShape &shape, const CudaEmitter &within, int64_t threads, int64_t firstToken,
                   int64_t lastToken)
      : e(within), shape(shape), G(shape.groups), threads(threads), warps(threads / cudaWarpThreads),
        firstToken(firstToken), lastToken(lastToken) {
    limitCounters();
  }

  CudaDispatchKernel one(StringRef symbol);
  int64_t within(CudaKernelShell &shell, const CudaDispatchArgs<Value> &own);
  CudaDispatchKernel count(StringRef symbol);
  CudaDispatchKernel scan(StringRef symbol);
  CudaDispatchKernel place(StringRef symbol);

private:
  using Values = CudaEmitter::Values;

  void limitCounters() {
    counterWarps = warps;
    while (counterWarps > 4 && counterWarps * G * 4 > 32 * 1024)
      counterWarps /= 2;
  }
  CudaKernelShell shellOf(StringRef symbol);
  void begin(CudaKernelShell &shell, bool ownShare);
  void sortAlone();
  CudaDispatchKernel end(CudaKernelShell &shell, StringRef symbol);
  int64_t sharedBytes() const { return sumsAt() + sums * 128; }
  int64_t firstAt() const { return std::max(counterWarps * G * 4, threads * 4); }
  int64_t itemAt() const { return firstAt() + (G + 1) * 4; }
  int64_t sumsAt() const { return (itemAt() + G * 4 + 15) / 16 * 16; }

  Value word(Value base, Value index) { return e.at(base, e.mul(index, 4)); }
  Value loadWord(Value base, Value index) { return e.load(e.i32(), word(base, index), 4); }
  void storeWord(Value base, Value index, Value v) { e.store(v, word(base, index), 4); }
  Value counter(Value part, Value group) { return word(e.shared(), e.add(e.mul(part, G), group)); }
  Value region(int64_t offset) { return e.at(e.shared(), offset); }
  Value tableEntry(Value share, Value group) { return word(args.scratch, e.add(e.mul(share, G), group)); }
  void sync() { e.barrier(0, threads); }
  void strided(int64_t count, llvm::function_ref<void(Value)> body) { e.loop(tid, e.c(count), threads, body); }
  int64_t rounds() const { return (G + threads - 1) / threads; } // groups of a thread: tid, tid + 1024, ...
  Value groupOf(int64_t round) { return e.add(tid, e.c(round * threads)); }
  Value lessU(Value x, Value y) { return e.compare(arith::CmpIPredicate::ult, x, y); }

  void clearCounters();
  void rankSlots();
  void rankRun(Value slot, Value end, Value id);
  void placeSlots();
  void forOwnSlots(llvm::function_ref<void(Value first, Value end)> body);
  Values countedRows();
  void startCounters(llvm::function_ref<Value(Value group)> start);
  std::pair<Value, Value> blockSum(Value v);
  Values prefix(const Values &v, Value &total);
  Values startGroups(const Values &rows);
  void writeLists(const Values &rows);
  void writeList(Value list, int64_t blockSize, const Values &rows);
  void whenRead(const CudaDispatchList &list, llvm::function_ref<void()> body);
  void writeItems(Value list, int64_t blockSize);
  int64_t columnParts() const;
  Value sumShares(Value part, Value group, int64_t parts);
  void startShares(Value part, Value group, int64_t parts, Value start);

  CudaEmitter e;
  const CudaDispatchShape &shape;
  ModuleOp module;
  int64_t G, counterWarps = 0, sums = 0;
  int64_t threads = mostThreads, warps = mostWarps;
  int64_t firstToken = 0, lastToken = 0; // of the calls that launch the kernel
  CudaDispatchArgs<Value> args;
  Value tokens, tid, lane, warp, share, firstSlot, lastSlot;
};

CudaKernelShell DispatchLowering::shellOf(StringRef symbol) {
  CudaDispatchArgs<unsigned> like = cudaDispatchArgs(shape);
  CudaKernelShell shell(e, module, symbol, countArgs(like), shape.sm);
  args = shell.bind(like);
  return shell;
}

// ownShare: the block works on share ctaid of the slots, else on all of them.
void DispatchLowering::begin(CudaKernelShell &shell, bool ownShare) {
  sums = 0;
  tokens = shell.numTokens;
  tid = e.unsignedI64(e.tid());
  lane = e.remU(tid, cudaWarpThreads);
  warp = e.divU(tid, cudaWarpThreads);
  Value slots = e.mul(shell.numTokens, shape.choices);
  firstSlot = e.c(0), lastSlot = slots;
  if (ownShare) {
    share = e.unsignedI64(e.ctaid());
    Value length = e.mul(e.ceilDiv(slots, shares * cudaWarpThreads), cudaWarpThreads);
    firstSlot = e.minS(e.mul(share, length), slots);
    lastSlot = e.minS(e.add(firstSlot, length), slots);
  }
}

CudaDispatchKernel DispatchLowering::end(CudaKernelShell &shell, StringRef symbol) {
  shell.finish(e, threads);
  return {symbol.str(), {threads, sharedBytes(), 1, 0, 1}, firstToken, lastToken};
}

void DispatchLowering::clearCounters() {
  strided(counterWarps * G, [&](Value i) { storeWord(e.shared(), i, e.c32(0)); });
}

// The slots of this warp's part, 32 * batch at a time.
void DispatchLowering::forOwnSlots(llvm::function_ref<void(Value, Value)> body) {
  Value length = e.mul(e.ceilDiv(e.sub(lastSlot, firstSlot), counterWarps * cudaWarpThreads), cudaWarpThreads);
  Value first = e.minS(e.add(firstSlot, e.mul(warp, length)), lastSlot);
  Value end = e.minS(e.add(first, length), lastSlot);
  e.when(e.less(warp, e.c(counterWarps)),
         [&] { e.loop(first, end, batch * cudaWarpThreads, [&](Value slot) { body(slot, end); }); });
}

void DispatchLowering::rankSlots() {
  forOwnSlots([&](Value first, Value end) {
    Values slots, loaded;
    for (int64_t i = 0; i < batch; ++i) {
      Value slot = e.add(first, e.add(lane, e.c(i * cudaWarpThreads)));
      slots.push_back(slot);
      loaded.push_back(loadWord(args.ids, e.select(e.less(slot, end), slot, first)));
    }
    for (int64_t i = 0; i < batch; ++i)
      e.when(e.less(e.add(first, e.c(i * cudaWarpThreads)), end), [&] { rankRun(slots[i], end, loaded[i]); });
  });
}

// 32 slots: ranks among those of the part, -1 for an id outside the groups.
void DispatchLowering::rankRun(Value slot, Value end, Value id) {
  Value inside = e.less(slot, end);
  Value valid = e.both(inside, lessU(id, e.c32(int32_t(G))));
  Value key = e.select(valid, id, e.c32(-1));
  Value same = e.matchAny(key);
  Value lower = e.sub(arith::ShLIOp::create(e.b, e.loc, e.c32(1), e.toI32(lane)), e.c32(1));
  Value before = e.bitCount(e.both(same, lower));
  Value p = counter(warp, e.toI64(e.select(valid, id, e.c32(0))));
  Value counted = e.load(e.i32(), p, 4);
  e.warpSync();
  e.when(e.both(valid, e.equal(before, e.c32(0))), [&] { e.store(e.add(counted, e.bitCount(same)), p, 4); });
  e.warpSync();
  e.when(inside, [&] { storeWord(args.route.slotRow, slot, e.select(valid, e.add(counted, before), e.c32(-1))); });
}

// Counters hold the first row of every (part, group).
void DispatchLowering::placeSlots() {
  forOwnSlots([&](Value first, Value end) {
    Values slots, groups, ranks;
    for (int64_t i = 0; i < batch; ++i) {
      Value slot = e.add(first, e.add(lane, e.c(i * cudaWarpThreads)));
      Value own = e.select(e.less(slot, end), slot, first); // what idle lanes read is not used
      slots.push_back(slot);
      groups.push_back(loadWord(args.ids, own));
      ranks.push_back(loadWord(args.route.slotRow, own));
    }
    for (int64_t i = 0; i < batch; ++i) {
      Value valid = e.both(e.less(slots[i], end), lessU(groups[i], e.c32(int32_t(G))));
      e.when(valid, [&] {
        Value start = e.load(e.i32(), counter(warp, e.toI64(groups[i])), 4);
        Value row = e.add(start, ranks[i]), slot = e.toI32(slots[i]);
        Value token = arith::DivUIOp::create(e.b, e.loc, slot, e.c32(int32_t(shape.choices)));
        storeWord(args.route.slotRow, slots[i], row);
        storeWord(args.route.rowToken, e.toI64(row), token);
        storeWord(args.route.rowSlot, e.toI64(row), slot);
      });
    }
  });
}

// Rows of each of this thread's groups over all parts of the block; 0 past G.
DispatchLowering::Values DispatchLowering::countedRows() {
  Values rows;
  for (int64_t q = 0; q < rounds(); ++q) {
    Value g = groupOf(q), inside = e.less(g, e.c(G)), sum = e.c32(0);
    g = e.select(inside, g, e.c(0));
    for (int64_t p = 0; p < counterWarps; ++p)
      sum = e.add(sum, e.load(e.i32(), counter(e.c(p), g), 4));
    rows.push_back(e.select(inside, sum, e.c32(0)));
  }
  return rows;
}

// counter[p][g] = start(g) + sum of the parts before p
void DispatchLowering::startCounters(llvm::function_ref<Value(Value)> start) {
  strided(G, [&](Value g) {
    Value next = start(g);
    for (int64_t p0 = 0; p0 < counterWarps; p0 += batch) {
      Values places, counted;
      for (int64_t p = p0; p < p0 + batch; ++p) {
        places.push_back(counter(e.c(p), g));
        counted.push_back(e.load(e.i32(), places.back(), 4));
      }
      for (int64_t i = 0; i < batch; ++i) {
        e.store(next, places[i], 4);
        next = e.add(next, counted[i]);
      }
    }
  });
}

// {sum over the threads before this one, sum over all}. Every sum has its own 32 words, so one barrier is enough.
std::pair<Value, Value> DispatchLowering::blockSum(Value v) {
  Value place = region(sumsAt() + 128 * sums++);
  auto inclusive = [&](Value x) {
    for (int64_t d = 1; d < cudaWarpThreads; d *= 2) {
      Value other = e.shflUp(x, d);
      x = e.add(x, e.select(e.less(lane, e.c(d)), e.c32(0), other));
    }
    return x;
  };
  Value ownWarp = inclusive(v);
  e.when(e.equal(lane, e.c(cudaWarpThreads - 1)), [&] { storeWord(place, warp, ownWarp); });
  sync();
  Value total = loadWord(place, warps == cudaWarpThreads ? lane : e.remU(lane, warps));
  if (warps < cudaWarpThreads)
    total = e.select(e.less(lane, e.c(warps)), total, e.c32(0));
  Value upTo = inclusive(total);
  Value before = e.shflIdx(e.sub(upTo, total), e.toI32(warp));
  return {e.add(before, e.sub(ownWarp, v)), e.shflIdx(upTo, e.c32(cudaWarpThreads - 1))};
}

// Sums over all groups before each of this thread's.
DispatchLowering::Values DispatchLowering::prefix(const Values &v, Value &total) {
  Values out;
  total = e.c32(0);
  for (Value x : v) {
    auto [before, all] = blockSum(x);
    out.push_back(e.add(total, before));
    total = e.add(total, all);
  }
  return out;
}

// Writes offsets and their copy `first`; a barrier ends it.
DispatchLowering::Values DispatchLowering::startGroups(const Values &rows) {
  Value total;
  Values starts = prefix(rows, total);
  auto write = [&](Value g, Value start) {
    storeWord(args.route.offsets, g, start);
    storeWord(region(firstAt()), g, start);
  };
  for (int64_t q = 0; q < rounds(); ++q)
    e.when(e.less(groupOf(q), e.c(G)), [&] { write(groupOf(q), starts[q]); });
  e.when(e.equal(tid, e.c(0)), [&] { write(e.c(G), total); });
  sync();
  return starts;
}

void DispatchLowering::writeLists(const Values &rows) {
  // every list has the words of the one before, whose last barrier ends their reading
  int64_t firstSum = sums, mostSums = sums;
  for (size_t i = 0; i < args.lists.size(); ++i) {
    sums = firstSum;
    whenRead(shape.lists[i], [&] { writeList(args.lists[i], shape.lists[i].blockSize, rows); });
    mostSums = std::max(mostSums, sums);
  }
  sums = mostSums;
}

// Emits `body` for the calls that read the list; all threads agree on T, so it may contain barriers.
void DispatchLowering::whenRead(const CudaDispatchList &list, llvm::function_ref<void()> body) {
  Value read;
  bool always = list.tokens.empty();
  for (auto [first, last] : list.tokens) {
    first = std::max(first, firstToken), last = std::min(last, lastToken);
    if (first > last)
      continue;
    always |= first == firstToken && last == lastToken;
    Value inside = e.both(e.less(e.c(first - 1), tokens), e.less(tokens, e.c(last == INT64_MAX ? last : last + 1)));
    read = read ? e.either(read, inside) : inside;
  }
  if (always)
    body();
  else if (read)
    e.when(read, body);
}

void DispatchLowering::writeList(Value list, int64_t blockSize, const Values &rows) {
  Values blocks;
  for (Value n : rows)
    blocks.push_back(
        arith::DivUIOp::create(e.b, e.loc, e.add(n, e.c32(int32_t(blockSize - 1))), e.c32(int32_t(blockSize))));
  Value total; // the barrier of each sum also ends the reading of item0 for the list before
  Values starts = prefix(blocks, total);
  for (int64_t q = 0; q < rounds(); ++q)
    e.when(e.less(groupOf(q), e.c(G)), [&] { storeWord(region(itemAt()), groupOf(q), starts[q]); });
  e.when(e.equal(tid, e.c(0)), [&] { e.storeV4(list, {total, e.c32(0), e.c32(0), e.c32(0)}); });
  sync();
  writeItems(list, blockSize);
}

// A warp takes a group, its lanes the blocks.
void DispatchLowering::writeItems(Value list, int64_t blockSize) {
  e.loop(warp, e.c(G), warps, [&](Value g) {
    Value first = loadWord(region(firstAt()), g), last = loadWord(region(firstAt()), e.add(g, e.c(1)));
    Value item = e.toI64(loadWord(region(itemAt()), g));
    Value blocks = e.ceilDiv(e.toI64(e.sub(last, first)), blockSize);
    e.loop(lane, blocks, cudaWarpThreads, [&](Value i) {
      Value row = e.add(first, e.toI32(e.mul(i, blockSize)));
      Value rows = e.minS(e.sub(last, row), e.c32(int32_t(blockSize)));
      e.storeV4(e.at(list, e.mul(e.add(item, e.add(i, e.c(1))), 16)), {e.toI32(g), row, rows, e.c32(0)});
    });
  });
}

// By one block.
void DispatchLowering::sortAlone() {
  clearCounters();
  sync();
  rankSlots();
  sync();
  Values rows = countedRows();
  startGroups(rows);
  startCounters([&](Value g) { return loadWord(region(firstAt()), g); });
  sync();
  placeSlots();
  writeLists(rows);
}

CudaDispatchKernel DispatchLowering::one(StringRef symbol) {
  CudaKernelShell shell = shellOf(symbol);
  begin(shell, /*ownShare=*/false);
  sortAlone();
  return end(shell, symbol);
}

int64_t DispatchLowering::within(CudaKernelShell &shell, const CudaDispatchArgs<Value> &own) {
  args = own;
  begin(shell, /*ownShare=*/false);
  sortAlone();
  return sharedBytes();
}

// table[share][g] = slots of the share that name g
CudaDispatchKernel DispatchLowering::count(StringRef symbol) {
  CudaKernelShell shell = shellOf(symbol);
  begin(shell, /*ownShare=*/true);
  strided(G, [&](Value g) { storeWord(e.shared(), g, e.c32(0)); });
  sync();
  e.loop(e.add(firstSlot, tid), lastSlot, threads, [&](Value slot) {
    Value id = loadWord(args.ids, slot);
    e.when(lessU(id, e.c32(int32_t(G))), [&] { e.atomicAdd(word(e.shared(), e.toI64(id)), e.c32(1)); });
  });
  sync();
  strided(G, [&](Value g) { e.store(loadWord(e.shared(), g), tableEntry(share, g), 4); });
  CudaDispatchKernel kernel = end(shell, symbol);
  kernel.facts.unitsFixed = shares;
  kernel.facts.sharedBytes = G * 4;
  return kernel;
}

// Threads per group in scan: each has its part of the shares.
int64_t DispatchLowering::columnParts() const {
  int64_t parts = 1;
  while (parts < warps && parts * 2 * G <= threads)
    parts *= 2;
  return parts;
}

Value DispatchLowering::sumShares(Value part, Value group, int64_t parts) {
  int64_t own = shares / parts;
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(own), e.c(batch), ValueRange{e.c32(0)});
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToEnd(loop.getBody());
  Value sum = loop.getRegionIterArg(0), first = e.add(e.mul(part, own), loop.getInductionVar());
  Values loaded;
  for (int64_t i = 0; i < batch; ++i)
    loaded.push_back(e.load(e.i32(), tableEntry(e.add(first, e.c(i)), group), 4));
  for (Value v : loaded)
    sum = e.add(sum, v);
  scf::YieldOp::create(e.b, e.loc, sum);
  return loop.getResult(0);
}

// table[s][g] = start + sum of the shares before s, for the shares of this part
void DispatchLowering::startShares(Value part, Value group, int64_t parts, Value start) {
  int64_t own = shares / parts;
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(own), e.c(batch), ValueRange{start});
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToEnd(loop.getBody());
  Value next = loop.getRegionIterArg(0), first = e.add(e.mul(part, own), loop.getInductionVar());
  Values places, loaded;
  for (int64_t i = 0; i < batch; ++i) {
    places.push_back(tableEntry(e.add(first, e.c(i)), group));
    loaded.push_back(e.load(e.i32(), places.back(), 4));
  }
  for (int64_t i = 0; i < batch; ++i) {
    e.store(next, places[i], 4);
    next = e.add(next, loaded[i]);
  }
  scf::YieldOp::create(e.b, e.loc, next);
}

// One block turns counts into first rows. Thread = part * G + group where several parts fit; their sums meet in the
// counters' memory, sum[part][g].
CudaDispatchKernel DispatchLowering::scan(StringRef symbol) {
  CudaKernelShell shell = shellOf(symbol);
  begin(shell, /*ownShare=*/false);
  int64_t parts = columnParts();
  Value part = e.divU(tid, G), group = e.remU(tid, G), working = e.less(tid, e.c(parts * G));
  Values rows;
  if (parts > 1) {
    e.when(working, [&] { storeWord(e.shared(), tid, sumShares(part, group, parts)); });
    sync();
    Value inside = e.less(tid, e.c(G)), sum = e.c32(0);
    for (int64_t p = 0; p < parts; ++p)
      sum = e.add(sum, loadWord(e.shared(), e.select(inside, e.add(tid, e.c(p * G)), e.c(0))));
    rows.push_back(e.select(inside, sum, e.c32(0)));
  } else {
    for (int64_t q = 0; q < rounds(); ++q) {
      Value inside = e.less(groupOf(q), e.c(G));
      Value sum = sumShares(e.c(0), e.select(inside, groupOf(q), e.c(0)), 1);
      rows.push_back(e.select(inside, sum, e.c32(0)));
    }
  }
  Values starts = startGroups(rows);
  if (parts > 1) {
    e.when(working, [&] {
      Value start = loadWord(region(firstAt()), group);
      for (int64_t p = 0; p + 1 < parts; ++p) {
        Value other = loadWord(e.shared(), e.add(group, e.c(p * G)));
        start = e.add(start, e.select(e.less(e.c(p), part), other, e.c32(0)));
      }
      startShares(part, group, parts, start);
    });
  } else {
    for (int64_t q = 0; q < rounds(); ++q)
      e.when(e.less(groupOf(q), e.c(G)), [&] { startShares(e.c(0), groupOf(q), 1, starts[q]); });
  }
  writeLists(rows);
  return end(shell, symbol);
}

CudaDispatchKernel DispatchLowering::place(StringRef symbol) {
  CudaKernelShell shell = shellOf(symbol);
  begin(shell, /*ownShare=*/true);
  clearCounters();
  sync();
  rankSlots();
  sync();
  startCounters([&](Value g) { return e.load(e.i32(), tableEntry(share, g), 4); });
  sync();
  placeSlots();
  CudaDispatchKernel kernel = end(shell, symbol);
  kernel.facts.unitsFixed = shares;
  return kernel;
}

} // namespace

moec_extent cudaDispatchTableBytes(const CudaDispatchShape &shape) { return {0, shares * shape.groups * 4, 0}; }

std::vector<CudaDispatchKernel> lowerCudaDispatch(const CudaDispatchShape &shape, Location loc, ModuleOp module,
                                                  StringRef symbol) {
  DispatchLowering alone(shape, loc, module, /*gridWide=*/false), together(shape, loc, module, /*gridWide=*/true);
  std::vector<CudaDispatchKernel> kernels;
  kernels.push_back(alone.one((symbol + "_one").str()));
  kernels.push_back(together.count((symbol + "_count").str()));
  kernels.push_back(together.scan((symbol + "_scan").str()));
  kernels.push_back(together.place((symbol + "_place").str()));
  return kernels;
}

CudaDispatchArgs<unsigned> cudaDispatchArgs(const CudaDispatchShape &shape) {
  CudaDispatchArgs<unsigned> args;
  args.lists.resize(shape.lists.size());
  return numberArgs(args);
}

int64_t emitCudaDispatch(CudaEmitter &e, CudaKernelShell &shell, const CudaDispatchShape &shape,
                         const CudaDispatchArgs<Value> &args, int64_t threads, int64_t firstToken, int64_t lastToken) {
  return DispatchLowering(shape, e, threads, firstToken, lastToken).within(shell, args);
}

moec_extent cudaListBytes(int64_t groups, int64_t choices, int64_t blockSize) {
  return {(16 * choices + blockSize - 1) / blockSize, 16 * (groups + 1), 0};
}

CudaKernelFacts lowerCudaCounts(int64_t groups, int64_t sm, Location loc, ModuleOp module, StringRef symbol) {
  CudaEmitter e(OpBuilder(loc.getContext()), loc);
  CudaCountsArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm);
  args = shell.bind(args);
  const int64_t perBlock = 256;
  Value g = e.add(e.mul(e.unsignedI64(e.ctaid()), perBlock), e.unsignedI64(e.tid()));
  e.when(e.less(g, e.c(groups)), [&] {
    Value at = e.mul(g, 4), p = e.at(args.offsets, at);
    Value count = e.sub(e.load(e.i32(), e.at(p, int64_t(4)), 4), e.load(e.i32(), p, 4));
    e.store(count, e.at(args.counts, at), 4);
  });
  shell.finish(e, perBlock);
  return {perBlock, 0, perBlock, 0, groups};
}

} // namespace moec
