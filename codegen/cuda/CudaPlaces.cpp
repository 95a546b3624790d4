// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Both ops keep the C largest of a list, equal ones by position. A block finds the key of the C-th largest digit by
// digit, 8 bits at a time from above, in a histogram in shared memory; then everything above it is kept, and of those
// equal to it the first ones, which a running count over the block's chunks of the list finds.
//
//     key(v) = bits(v + 0) with all bits of a negative number and the sign bit of a positive one flipped,   NaN: 0
//
//     shared memory   | histogram [256] | digit, larger | counts of the warps [8] |

#include "codegen/cuda/CudaPlaces.h"

#include "codegen/cuda/CudaRun.h"
#include "codegen/plan/StageArgs.h"

#include <cstdint>

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t threads = 256, warps = threads / cudaWarpThreads, bins = 256;
using Values = CudaEmitter::Values;
using Predicate = arith::CmpIPredicate;

// A list a block looks through: entry i is there where `is`, and is kept or dropped by `put`. Null key: all are equal.
struct Queue {
  Value count;
  llvm::function_ref<Value(Value i)> is;
  llvm::function_ref<Value(Value i)> key;
  llvm::function_ref<void(Value i, Value kept)> put;
};

class CudaPlaces {
public:
  CudaPlaces(Operation *op, int64_t sm) : e(OpBuilder(op->getContext()), op->getLoc()), sm(sm) {}

  CudaKernelFacts capacity(moe::CapacityOp op, ModuleOp module, StringRef symbol);
  CudaKernelFacts topTokens(moe::TopTokensOp op, ModuleOp module, StringRef symbol);

private:
  Value region(int64_t offset) { return e.at(e.shared(), offset); }
  Value word(Value base, Value index) { return e.at(base, e.mul(index, 4)); }
  Value loadWord(Value base, Value index) { return e.load(e.i32(), word(base, index), 4); }
  void storeWord(Value base, Value index, Value v) { e.store(v, word(base, index), 4); }
  void sync() { e.barrier(0, threads); }
  void begin() {
    tid = e.unsignedI64(e.tid());
    lane = e.remU(tid, cudaWarpThreads);
    warp = e.divU(tid, cudaWarpThreads);
  }
  Value orderedKey(Value x);
  Value sharedWord(int64_t offset);
  std::pair<Value, Value> blockSum(Value flag);
  Value countEntries(Value count, llvm::function_ref<Value(Value)> is);
  std::pair<Value, Value> threshold(const Queue &queue, Value places);
  Value keepLargest(const Queue &queue, Value places);
  template <typename Op> Value placesOf(Op op, std::optional<Value> present, std::optional<Value> given);
  template <typename Op> CudaKernelFacts unitsOf(Op op, int64_t perScope);
  template <typename Op> Value scopeLength(Op op, CudaKernelShell &shell);
  void dropping(moe::CapacityOp op, CudaKernelShell &shell);
  void nextBest(moe::CapacityOp op, CudaKernelShell &shell);
  void placeNext(moe::CapacityOp op, CudaKernelShell &shell, Value slot);
  Value slotKey(moe::CapacityOp op, Value slot);

  CudaEmitter e;
  int64_t sm;
  Value tid, lane, warp;
  CapacityArgs<Value> args; // of a capacity
  Value first, tokens;      // of the scope
};

constexpr int64_t digitAt = bins * 4, countsAt = digitAt + 16, sharedBytes = countsAt + warps * 4;

Value CudaPlaces::orderedKey(Value x) {
  Value v = e.addF(x, e.f(0)), bits = e.bitcast(v, e.i32());
  Value sign = arith::ShRSIOp::create(e.b, e.loc, bits, e.c32(31));
  Value flip = e.either(sign, e.c32(INT32_MIN));
  Value ordered = arith::XOrIOp::create(e.b, e.loc, bits, flip);
  return e.select(e.compare(arith::CmpFPredicate::UNO, v, v), e.c32(0), ordered);
}

// A word that one thread wrote and every thread reads, between two barriers.
Value CudaPlaces::sharedWord(int64_t offset) {
  Value v = e.load(e.i32(), region(offset), 4);
  sync();
  return v;
}

// {flags before this thread's in the block, all flags}, i32
std::pair<Value, Value> CudaPlaces::blockSum(Value flag) {
  Value votes = e.ballot(arith::ExtUIOp::create(e.b, e.loc, e.i32(), flag));
  Value lower = e.sub(arith::ShLIOp::create(e.b, e.loc, e.c32(1), e.toI32(lane)), e.c32(1));
  Value before = e.bitCount(e.both(votes, lower));
  e.when(e.equal(lane, e.c(0)), [&] { storeWord(region(countsAt), warp, e.bitCount(votes)); });
  sync();
  Value total = e.c32(0);
  for (int64_t w = 0; w < warps; ++w) {
    Value counted = loadWord(region(countsAt), e.c(w));
    before = e.add(before, e.select(e.less(e.c(w), warp), counted, e.c32(0)));
    total = e.add(total, counted);
  }
  sync();
  return {before, total};
}

// Entries of 0..count-1 that are there; the same in all threads.
Value CudaPlaces::countEntries(Value count, llvm::function_ref<Value(Value)> is) {
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), count, e.c(threads), ValueRange{e.c32(0)});
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToEnd(loop.getBody());
  Value i = e.add(loop.getInductionVar(), tid), inside = e.less(i, count);
  Value there = e.both(inside, is(e.select(inside, i, e.c(0))));
  scf::YieldOp::create(e.b, e.loc, e.add(loop.getRegionIterArg(0), blockSum(there).second));
  return loop.getResult(0);
}

// {key of the places-th largest entry, entries above it}; the queue has more entries than places, places > 0.
std::pair<Value, Value> CudaPlaces::threshold(const Queue &queue, Value places) {
  Value prefix = e.c32(0), larger = e.c32(0);
  for (int64_t shift = 24; shift >= 0; shift -= 8) {
    Value decided = e.c32(shift == 24 ? 0 : int32_t(UINT32_MAX << (shift + 8)));
    storeWord(e.shared(), tid, e.c32(0));
    sync();
    e.loop(tid, queue.count, threads, [&](Value i) {
      Value key = queue.key(i), same = e.equal(e.both(key, decided), prefix);
      Value digit = e.both(arith::ShRUIOp::create(e.b, e.loc, key, e.c32(int32_t(shift))), e.c32(255));
      e.when(e.both(queue.is(i), same), [&] { e.atomicAdd(word(e.shared(), e.unsignedI64(digit)), e.c32(1)); });
    });
    sync();
    e.when(e.equal(tid, e.c(0)), [&] {
      // the largest digit with enough entries at or above it
      auto search = scf::WhileOp::create(e.b, e.loc, TypeRange{e.i64(), e.i32()}, ValueRange{e.c(bins - 1), larger});
      OpBuilder::InsertionGuard guard(e.b);
      Block *before = e.b.createBlock(&search.getBefore(), {}, {e.i64(), e.i32()}, {e.loc, e.loc});
      Value upTo = e.add(before->getArgument(1), loadWord(e.shared(), before->getArgument(0)));
      Value more = e.both(e.less(upTo, places), e.less(e.c(0), before->getArgument(0)));
      scf::ConditionOp::create(e.b, e.loc, more, before->getArguments());
      Block *after = e.b.createBlock(&search.getAfter(), {}, {e.i64(), e.i32()}, {e.loc, e.loc});
      Value taken = loadWord(e.shared(), after->getArgument(0));
      scf::YieldOp::create(e.b, e.loc,
                           ValueRange{e.sub(after->getArgument(0), e.c(1)), e.add(after->getArgument(1), taken)});
      e.b.setInsertionPointAfter(search);
      e.store(e.toI32(search.getResult(0)), region(digitAt), 4);
      e.store(search.getResult(1), region(digitAt + 4), 4);
    });
    sync();
    Value digit = e.load(e.i32(), region(digitAt), 4);
    larger = sharedWord(digitAt + 4);
    prefix = e.either(prefix, arith::ShLIOp::create(e.b, e.loc, digit, e.c32(int32_t(shift))));
  }
  return {prefix, larger};
}

// Keeps the `places` largest entries and says of every entry whether it is kept; returns the places that are left.
Value CudaPlaces::keepLargest(const Queue &queue, Value places) {
  Value count = countEntries(queue.count, queue.is);
  Value limited = e.both(e.less(places, count), e.less(e.c32(0), places));
  Value key = e.c32(0), ties = places; // without a threshold all are ties of the lowest key
  if (queue.key) {
    auto branch = scf::IfOp::create(e.b, e.loc, TypeRange{e.i32(), e.i32()}, limited, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(branch.thenBlock());
    auto [found, larger] = threshold(queue, places);
    scf::YieldOp::create(e.b, e.loc, ValueRange{found, e.sub(places, larger)});
    e.b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(e.b, e.loc, ValueRange{e.c32(0), places});
    key = branch.getResult(0), ties = branch.getResult(1);
  }
  Value all = e.compare(Predicate::sge, places, count), none = e.compare(Predicate::sle, places, e.c32(0));
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), queue.count, e.c(threads), ValueRange{e.c32(0)});
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToEnd(loop.getBody());
  Value i = e.add(loop.getInductionVar(), tid), inside = e.less(i, queue.count), own = e.select(inside, i, e.c(0));
  Value there = e.both(inside, queue.is(own)), above, tie = there;
  if (queue.key) {
    Value ownKey = queue.key(own);
    above = e.compare(Predicate::ugt, ownKey, key);
    tie = e.both(there, e.equal(ownKey, key));
  }
  auto [before, found] = blockSum(tie);
  Value fits = e.both(tie, e.compare(Predicate::slt, e.add(loop.getRegionIterArg(0), before), ties));
  Value kept = e.either(all, above ? e.either(above, fits) : fits);
  kept = e.both(kept, e.equal(none, arith::ConstantIntOp::create(e.b, e.loc, e.i1(), 0)));
  e.when(there, [&] { queue.put(i, kept); });
  scf::YieldOp::create(e.b, e.loc, e.add(loop.getRegionIterArg(0), found));
  e.b.setInsertionPointAfter(loop);
  Value left = e.sub(places, e.minS(places, count));
  return left;
}

// C of the scope, i32.
template <typename Op> Value CudaPlaces::placesOf(Op op, std::optional<Value> present, std::optional<Value> given) {
  Value count;
  auto whole = [&](Value v) { // floor, ceil or nearest of v >= 0
    auto number = [&](double x) { return arith::ConstantOp::create(e.b, e.loc, e.b.getF64FloatAttr(x)).getResult(); };
    Value most = number(INT32_MAX);
    v = e.select(e.compare(arith::CmpFPredicate::OLT, v, most), v, most);
    if (op.getRound() == moe::Rounding::nearest)
      v = arith::AddFOp::create(e.b, e.loc, v, number(0.5));
    Value down = arith::FPToSIOp::create(e.b, e.loc, e.i64(), v);
    if (op.getRound() != moe::Rounding::ceil)
      return down;
    Value below = e.compare(arith::CmpFPredicate::OLT, arith::SIToFPOp::create(e.b, e.loc, e.b.getF64Type(), down), v);
    return e.select(below, e.add(down, e.c(1)), down);
  };
  auto number = [&](double x) { return arith::ConstantOp::create(e.b, e.loc, e.b.getF64FloatAttr(x)).getResult(); };
  Value value = number(op.getValue().convertToDouble());
  if (op.getMode() == moe::PlacesMode::given) {
    count = e.toI64(e.load(e.i32(), *given, 4));
  } else if (op.getMode() == moe::PlacesMode::fixed) {
    count = whole(value);
  } else {
    Value n = e.toI32(tokens);
    if (present)
      n = countEntries(
          tokens, [&](Value i) { return e.compare(Predicate::ne, loadWord(*present, e.add(first, i)), e.c32(0)); });
    Value share = arith::MulFOp::create(e.b, e.loc, value, arith::SIToFPOp::create(e.b, e.loc, e.b.getF64Type(), n));
    share = arith::MulFOp::create(e.b, e.loc, share, number(double(op.getTimes())));
    count = whole(arith::DivFOp::create(e.b, e.loc, share, number(double(op.getOver()))));
  }
  Value least = e.c(int64_t(op.getLeast())), most = e.c(std::min<int64_t>(int64_t(op.getMost()), INT32_MAX));
  count = e.select(e.less(count, least), least, count);
  count = e.minS(count, most);
  return e.toI32(e.select(e.less(count, e.c(0)), e.c(0), count));
}

template <typename Op> Value CudaPlaces::scopeLength(Op op, CudaKernelShell &shell) {
  switch (op.getScope()) {
  case moe::Scope::batch:
    return shell.numTokens;
  case moe::Scope::sequence:
    return shell.sequence();
  case moe::Scope::group:
    return e.c(int64_t(op.getGroupTokens()));
  }
  return shell.numTokens;
}

// `perScope` blocks for every scope.
template <typename Op> CudaKernelFacts CudaPlaces::unitsOf(Op op, int64_t perScope) {
  CudaKernelFacts facts = {threads, sharedBytes, 1, 0, 0};
  if (op.getScope() == moe::Scope::batch)
    facts.unitsFixed = perScope;
  if (op.getScope() == moe::Scope::sequence)
    facts.unitsPerSequence = perScope;
  if (op.getScope() == moe::Scope::group) {
    facts.unitsPerToken = perScope;
    facts.unitsPerBlock = int64_t(op.getGroupTokens());
    facts.unitsFixed = perScope * (facts.unitsPerBlock - 1);
  }
  return facts;
}

Value CudaPlaces::slotKey(moe::CapacityOp op, Value slot) {
  bool bySlot = cast<RankedTensorType>(op.getKeys().getType()).getDimSize(1) > 1;
  int64_t choices = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1);
  return orderedKey(e.load(e.f32(), word(*args.keys, bySlot ? slot : e.divU(slot, choices)), 4));
}

// Group by group; what names no group passes by way of group 0.
void CudaPlaces::dropping(moe::CapacityOp op, CudaKernelShell &shell) {
  int64_t choices = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1), groups = int64_t(op.getGroups());
  Value block = e.unsignedI64(e.ctaid()), length = scopeLength(op, shell), group = e.toI32(e.remU(block, groups));
  first = e.mul(e.divU(block, groups), length);
  e.when(e.less(first, shell.numTokens), [&] {
    tokens = e.minS(length, e.sub(shell.numTokens, first));
    Value slots = e.mul(tokens, choices), firstSlot = e.mul(first, choices);
    e.when(e.equal(group, e.c32(0)), [&] {
      e.loop(tid, slots, threads, [&](Value i) {
        Value slot = e.add(firstSlot, i), id = loadWord(args.ids, slot);
        e.when(e.compare(Predicate::uge, id, e.c32(int32_t(groups))), [&] { storeWord(args.kept, slot, id); });
      });
    });
    Value places = placesOf(op, args.present, args.capacity);
    auto level = [&](Value begin, int64_t step, Value count, Value left) {
      auto slotOf = [&](Value i) { return e.add(begin, e.mul(i, step)); };
      auto is = [&](Value i) { return e.equal(loadWord(args.ids, slotOf(i)), group); };
      auto key = [&](Value i) { return slotKey(op, slotOf(i)); };
      auto put = [&](Value i, Value keep) { storeWord(args.kept, slotOf(i), e.select(keep, group, e.c32(-1))); };
      Queue queue = {count, is, {}, put};
      if (op.getKeys())
        queue.key = key;
      return keepLargest(queue, left);
    };
    if (op.getTokenMajor()) {
      level(firstSlot, 1, slots, places);
      return;
    }
    auto levels = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(choices), e.c(1), ValueRange{places});
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(levels.getBody());
    Value begin = e.add(firstSlot, levels.getInductionVar());
    scf::YieldOp::create(e.b, e.loc, level(begin, choices, tokens, levels.getRegionIterArg(0)));
  });
}

// One slot, by the whole warp: the best id with room that no placed choice of the token names. Choices that wait for
// their turn are kept as -2 - id.
void CudaPlaces::placeNext(moe::CapacityOp op, CudaKernelShell &shell, Value slot) {
  int64_t choices = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1), groups = int64_t(op.getGroups());
  int64_t columns = cast<RankedTensorType>(op.getRanked().getType()).getDimSize(1);
  RunWalker runs(e);
  runs.lane = lane;
  Value token = e.divU(slot, choices), firstSlot = e.mul(token, choices);
  Value waits = e.compare(Predicate::sle, loadWord(args.kept, slot), e.c32(-2));
  e.when(waits, [&] {
    Values best = runs.fold(
        columns, {e.c32(INT32_MIN), e.c32(INT32_MAX)}, [&](Values acc, ArrayRef<Value> own, Value valid) -> Values {
          for (Value n : own) {
            Value id = e.toI32(n), grouped = e.less(n, e.c(groups));
            Value places = loadWord(e.shared(), e.select(grouped, n, e.c(0)));
            Value room =
                e.either(e.compare(Predicate::sge, n, e.c(groups)), e.compare(Predicate::sgt, places, e.c32(0)));
            Value rank = e.load(e.f32(), word(*args.rank, e.add(e.mul(token, columns), n)), 4);
            // signed order; no NaN is as low as what has no room
            Value key = arith::XOrIOp::create(e.b, e.loc, orderedKey(rank), e.c32(INT32_MIN));
            key = e.select(e.equal(key, e.c32(INT32_MIN)), e.c32(INT32_MIN + 1), key);
            room = e.both(room, e.compare(Predicate::sgt, key, acc[0]));
            if (valid)
              room = e.both(room, valid);
            // the token's choices are looked through for an id that would win
            Value end = e.add(firstSlot, e.select(room, e.c(choices), e.c(0)));
            auto named = scf::ForOp::create(e.b, e.loc, firstSlot, end, e.c(1), ValueRange{room});
            {
              OpBuilder::InsertionGuard guard(e.b);
              e.b.setInsertionPointToEnd(named.getBody());
              Value other = e.compare(Predicate::ne, loadWord(args.kept, named.getInductionVar()), id);
              scf::YieldOp::create(e.b, e.loc, e.both(named.getRegionIterArg(0), other));
            }
            runs.keepLarger(acc[0], acc[1], e.select(named.getResult(0), key, e.c32(INT32_MIN)), id);
          }
          return acc;
        });
    runs.largestOfLanes(MutableArrayRef(best).take_front(1), MutableArrayRef(best).drop_front(1));
    e.warpSync();
    e.when(e.equal(lane, e.c(0)), [&] {
      Value found = e.compare(Predicate::ne, best[0], e.c32(INT32_MIN));
      storeWord(args.kept, slot, e.select(found, best[1], e.c32(-1)));
      e.when(e.both(found, e.compare(Predicate::slt, best[1], e.c32(int32_t(groups)))), [&] {
        Value place = word(e.shared(), e.toI64(best[1]));
        e.store(e.sub(e.load(e.i32(), place, 4), e.c32(1)), place, 4);
      });
    });
    e.warpSync();
  });
}

// The slots of a queue in order: by position, or each time the largest (key, position) behind the one before.
void CudaPlaces::nextBest(moe::CapacityOp op, CudaKernelShell &shell) {
  int64_t choices = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1), groups = int64_t(op.getGroups());
  Value length = scopeLength(op, shell);
  first = e.mul(e.unsignedI64(e.ctaid()), length);
  Value inside = e.less(first, shell.numTokens);
  tokens = e.minS(length, e.sub(shell.numTokens, e.select(inside, first, e.c(0))));
  Value places = placesOf(op, args.present, args.capacity);
  sync(); // counting is over: its memory becomes that of the places
  e.when(e.both(inside, e.equal(warp, e.c(0))), [&] {
    Value slots = e.mul(tokens, choices), firstSlot = e.mul(first, choices);
    e.loop(lane, slots, cudaWarpThreads, [&](Value i) {
      Value id = loadWord(args.ids, e.add(firstSlot, i));
      Value known =
          e.compare(Predicate::ult, id, e.c32(int32_t(cast<RankedTensorType>(op.getRanked().getType()).getDimSize(1))));
      Value none = e.select(e.compare(Predicate::slt, id, e.c32(0)), e.c32(-1), id);
      storeWord(args.kept, e.add(firstSlot, i), e.select(known, e.sub(e.c32(-2), id), none));
    });
    e.loop(lane, e.c(groups), cudaWarpThreads, [&](Value g) { storeWord(e.shared(), g, places); });
    e.warpSync();
    auto level = [&](Value begin, int64_t step, Value count) {
      if (!op.getKeys()) {
        e.loop(e.c(0), count, 1, [&](Value i) { placeNext(op, shell, e.add(begin, e.mul(i, step))); });
        return;
      }
      // (key, i) of the slot before: nothing yet
      auto walk = scf::ForOp::create(e.b, e.loc, e.c(0), count, e.c(1), ValueRange{e.c32(INT32_MAX), e.c32(-1)});
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToEnd(walk.getBody());
      Value lastKey = walk.getRegionIterArg(0), lastAt = walk.getRegionIterArg(1);
      RunWalker runs(e);
      runs.lane = lane;
      auto find = scf::ForOp::create(e.b, e.loc, e.c(0), count, e.c(cudaWarpThreads),
                                     ValueRange{e.c32(INT32_MIN), e.c32(INT32_MAX)});
      {
        OpBuilder::InsertionGuard inner(e.b);
        e.b.setInsertionPointToEnd(find.getBody());
        Value i = e.add(find.getInductionVar(), lane), valid = e.less(i, count), own = e.select(valid, i, e.c(0));
        Value key = arith::XOrIOp::create(e.b, e.loc, slotKey(op, e.add(begin, e.mul(own, step))), e.c32(INT32_MIN));
        key = e.select(e.equal(key, e.c32(INT32_MIN)), e.c32(INT32_MIN + 1), key); // below it: nothing
        Value at = e.toI32(own);
        Value behind = e.either(e.compare(Predicate::slt, key, lastKey),
                                e.both(e.equal(key, lastKey), e.compare(Predicate::sgt, at, lastAt)));
        key = e.select(e.both(valid, behind), key, e.c32(INT32_MIN));
        Value best = find.getRegionIterArg(0), where = find.getRegionIterArg(1);
        runs.keepLarger(best, where, key, at);
        scf::YieldOp::create(e.b, e.loc, ValueRange{best, where});
      }
      Values found = Values(find.getResults());
      runs.largestOfLanes(MutableArrayRef(found).take_front(1), MutableArrayRef(found).drop_front(1));
      placeNext(op, shell, e.add(begin, e.mul(e.toI64(found[1]), step)));
      scf::YieldOp::create(e.b, e.loc, found);
    };
    if (op.getTokenMajor())
      level(firstSlot, 1, slots);
    else
      e.loop(e.c(0), e.c(choices), 1, [&](Value j) { level(e.add(firstSlot, j), choices, tokens); });
  });
}

CudaKernelFacts CudaPlaces::capacity(moe::CapacityOp op, ModuleOp module, StringRef symbol) {
  CapacityArgs<StageArg> like = argsOf(op);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm, {}, /*sequence=*/true);
  begin();
  args = shell.bind(like); // this kernel does without the queue
  op.getRanked() ? nextBest(op, shell) : dropping(op, shell);
  shell.finish(e, threads);
  CudaKernelFacts facts = unitsOf(op, op.getRanked() ? 1 : int64_t(op.getGroups()));
  if (op.getRanked())
    facts.sharedBytes = std::max<int64_t>(sharedBytes, int64_t(op.getGroups()) * 4);
  return facts;
}

CudaKernelFacts CudaPlaces::topTokens(moe::TopTokensOp op, ModuleOp module, StringRef symbol) {
  int64_t columns = cast<RankedTensorType>(op.getMask().getType()).getDimSize(1);
  TopTokensArgs<StageArg> like = argsOf(op);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm, {}, /*sequence=*/true);
  begin();
  TopTokensArgs<Value> buffers = shell.bind(like);
  Value present = buffers.present.value_or(Value());
  Value block = e.unsignedI64(e.ctaid()), length = scopeLength(op, shell), column = e.remU(block, columns);
  first = e.mul(e.divU(block, columns), length);
  e.when(e.less(first, shell.numTokens), [&] {
    tokens = e.minS(length, e.sub(shell.numTokens, first));
    auto entry = [&](Value i) { return e.add(e.mul(e.add(first, i), columns), column); };
    auto is = [&](Value i) -> Value {
      if (!present)
        return arith::ConstantIntOp::create(e.b, e.loc, e.i1(), 1);
      return e.compare(Predicate::ne, loadWord(present, e.add(first, i)), e.c32(0));
    };
    auto key = [&](Value i) { return orderedKey(e.load(e.f32(), word(buffers.values, entry(i)), 4)); };
    auto put = [&](Value i, Value keep) {
      storeWord(buffers.mask, entry(i), arith::ExtUIOp::create(e.b, e.loc, e.i32(), keep));
    };
    if (present) // absent tokens are in no queue
      e.loop(tid, tokens, threads, [&](Value i) {
        e.when(e.equal(loadWord(present, e.add(first, i)), e.c32(0)),
               [&] { storeWord(buffers.mask, entry(i), e.c32(0)); });
      });
    keepLargest({tokens, is, key, put}, placesOf(op, buffers.present, std::nullopt));
  });
  shell.finish(e, threads);
  return unitsOf(op, columns);
}

} // namespace

CudaKernelFacts lowerCudaCapacity(moe::CapacityOp op, int64_t sm, ModuleOp module, StringRef symbol) {
  return CudaPlaces(op, sm).capacity(op, module, symbol);
}

CudaKernelFacts lowerCudaTopTokens(moe::TopTokensOp op, int64_t sm, ModuleOp module, StringRef symbol) {
  return CudaPlaces(op, sm).topTokens(op, module, symbol);
}

} // namespace moec
