// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ops of row programs, one by one.

#include "codegen/cuda/CudaRowsLowering.h"

using namespace mlir;

namespace moec {

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

} // namespace moec
