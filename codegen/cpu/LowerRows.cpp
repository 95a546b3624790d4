// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Row programs. A value of a row is a scalar (shape [L]) or a run of elements (shape [L,N]) kept in scratch, padded to
// whole vectors; i1 runs are kept as i32. Parameters are read where they lie: packed vectors are padded too.

#include "codegen/cpu/LowerRows.h"

#include "codegen/lower/KernelFunction.h"
#include "codegen/lower/RouteRow.h"
#include "codegen/moe/MapLoops.h"
#include "codegen/plan/StageArgs.h"

#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;

namespace moec {
namespace {

// One value as seen from the row in hand.
struct RowValue {
  Value value; // scalar, or pointer to the first element
  Type element;
  int64_t count = 0;  // 0: a scalar
  bool param = false; // the same for all rows
  int64_t stride = 0; // of what a gather or lookup indexes: bytes from one row to the next
};

class RowsLowering {
public:
  RowsLowering(moe::RowProgramOp op, const RowStrides &strides, const IsaFacts &isa)
      : e(OpBuilder(op.getContext()), op.getLoc(), isa), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)) {}

  int64_t run(ModuleOp module, StringRef symbol) {
    KernelFunction shell(e, module, symbol);
    scratch = shell.scratch, call = shell.call;
    buffers = shell.bind(e, strides);
    e.loop(shell.first, shell.last, 1, [&](Value row) { lowerRow(row); });
    shell.finish(e);
    return scratchBytes;
  }

private:
  // Sums are of 16 lanes on every instruction set that fuses multiplication and addition, whatever its registers hold:
  // a row's bits are then the same on all of them.
  int64_t lanes() const { return e.isa.fma ? 16 : e.isa.lanes; }
  static int64_t size(Type element) { return element.isBF16() ? 2 : 4; } // i1 is kept as i32
  Type stored(Type element) { return element.isInteger(1) ? Type(e.b.getI32Type()) : element; }
  static RankedTensorType tensor(Value v) { return cast<RankedTensorType>(v.getType()); }

  int64_t widthOf(moe::MapOp map); // elements of a run that are computed at once

  void lowerRow(Value row);
  void bindInput(BlockArgument argument, Value row);
  void lowerOp(Operation &op);
  void lowerScalarMap(moe::MapOp op);
  void lowerMaps(const RowStep &maps);
  SmallVector<Value> operandsAt(moe::MapOp map, const DenseMap<Value, Value> &inRegisters, Value n, int64_t width);
  void lowerReduce(moe::ReduceOp op);
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
  void storeResult(Value result, Type type, Value row, Value buffer, int64_t stride);

  RowValue allocate(Type element, int64_t count) {
    int64_t bytes = (count * size(element) + 63) / 64 * 64 + 64;
    RowValue value = {e.at(scratch, scratchBytes), element, count};
    scratchBytes += bytes;
    return value;
  }
  Value loadVector(const RowValue &v, Value n, int64_t width) {
    Value p = e.at(v.value, e.mul(n, size(v.element)));
    Type type = stored(v.element);
    Value loaded = e.load(width == 1 ? type : Type(e.vec(type, width)), p, unsigned(size(v.element)));
    return v.element.isInteger(1) ? toBool(loaded) : loaded;
  }
  void storeVector(const RowValue &v, Value n, Value x) {
    if (v.element.isInteger(1)) {
      auto vector = dyn_cast<VectorType>(x.getType());
      Type wide = vector ? Type(e.vec(e.b.getI32Type(), vector.getNumElements())) : Type(e.b.getI32Type());
      x = arith::ExtUIOp::create(e.b, e.loc, wide, x);
    }
    e.store(x, e.at(v.value, e.mul(n, size(v.element))), unsigned(size(v.element)));
  }
  Value toBool(Value x) {
    auto vector = dyn_cast<VectorType>(x.getType());
    Value zero = vector ? e.constantI32(0, vector.getNumElements()) : e.c32(0);
    return arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ne, x, zero);
  }
  Value constantF32(double v, int64_t width) {
    if (width > 1)
      return e.constant(v, width);
    return arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(float(v)));
  }
  Value constantInt(int32_t v, int64_t width) { return width > 1 ? e.constantI32(v, width) : e.c32(v); }
  Value compare(arith::CmpFPredicate p, Value x, Value y) { return arith::CmpFOp::create(e.b, e.loc, p, x, y); }
  Value compare(arith::CmpIPredicate p, Value x, Value y) { return arith::CmpIOp::create(e.b, e.loc, p, x, y); }

  // acc over elements [begin, begin + count) of a run: whole vectors, then the tail with `neutral` in its idle lanes,
  // then lanes folded pairwise. width 1 walks element by element.
  Value fold(const RowValue &v, Value begin, int64_t count, int64_t width, Value neutral,
             llvm::function_ref<Value(Value acc, Value x)> join);
  Value foldLanes(Value vector, llvm::function_ref<Value(Value, Value)> join);
  Value joinMax(Value acc, Value x) { // NaN loses; it stays only while nothing else came
    Value greater = compare(arith::CmpFPredicate::OGT, x, acc), empty = compare(arith::CmpFPredicate::UNO, acc, acc);
    return e.select(arith::OrIOp::create(e.b, e.loc, greater, empty), x, acc);
  }
  Value rowMax(const RowValue &v, Value begin, int64_t count, int64_t width) {
    Value nan = constantF32(std::numeric_limits<double>::quiet_NaN(), width);
    return fold(v, begin, count, width, nan, [&](Value acc, Value x) { return joinMax(acc, x); });
  }
  Value rowSum(const RowValue &v, Value begin, int64_t count, int64_t width) {
    return fold(v, begin, count, width, constantF32(0, width), [&](Value acc, Value x) { return e.addF(acc, x); });
  }
  // Vector width for runs of `length` elements inside a longer row: their ends must fall on vector borders.
  int64_t segmentWidth(int64_t length) { return length % lanes() == 0 ? lanes() : 1; }
  void selectLargest(const RowValue &keys, Value begin, int64_t count, int64_t width, const RowValue &ids, Value at);

  Emitter e;
  moe::RowProgramOp op;
  RowProgramArgs<int64_t> strides;
  RowProgramArgs<Value> buffers;
  Value scratch, call;
  DenseMap<Value, RowValue> values;
  DenseMap<Value, RouteRow> routes;
  int64_t scratchBytes = 0;
};

void RowsLowering::lowerRow(Value row) {
  Block &body = op.getBody().front();
  // routes first: gathered inputs need the row's token
  for (BlockArgument argument : body.getArguments())
    bindInput(argument, row);
  for (const RowStep &step : rowSteps(body, [&](moe::MapOp a, moe::MapOp b) { return widthOf(a) == widthOf(b); })) {
    e.loc = step.front()->getLoc();
    if (isRunMap(step.front()))
      lowerMaps(step);
    else
      lowerOp(*step.front());
  }
  for (auto [i, result] : llvm::enumerate(body.getTerminator()->getOperands()))
    storeResult(result, result.getType(), row, buffers.results[i], strides.results[i]);
}

void RowsLowering::bindInput(BlockArgument argument, Value row) {
  const RowInputArgs<Value> &buffer = buffers.inputs[argument.getArgNumber()];
  if (auto route = dyn_cast<moe::RouteType>(argument.getType())) {
    auto entry = [&](Value table) { return e.toI64(e.load(e.b.getI32Type(), e.at(table, e.mul(row, 4)), 4)); };
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
  int64_t stride = strides.inputs[argument.getArgNumber()].value;
  bool gathered = llvm::all_of(argument.getUsers(), [&](Operation *user) {
    return isa<moe::GatherOp, moe::SlotRowsOp>(user) && user->getOperand(0) == argument;
  });
  if (!type.isDynamicDim(0)) { // a parameter
    values[argument] = {base, element, type.getNumElements(), true, stride};
    return;
  }
  if (gathered && !argument.use_empty()) { // indexed by the gather itself
    values[argument] = {base, element, type.getRank() == 2 ? type.getDimSize(1) : 0, true, stride};
    return;
  }
  Value p = e.at(base, e.mul(row, stride));
  if (type.getRank() == 1) {
    values[argument] = {e.load(element, p, unsigned(size(element))), element, 0};
    return;
  }
  int64_t count = type.getDimSize(1);
  if (count % lanes() == 0) {
    values[argument] = {p, element, count};
    return;
  }
  RowValue copy = allocate(element, count); // a vector load at the end must not leave the buffer
  e.copy(copy.value, p, count * size(element));
  values[argument] = copy;
}

void RowsLowering::lowerOp(Operation &inner) {
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

// Ends of segments must fall on the borders of vectors.
int64_t RowsLowering::widthOf(moe::MapOp map) {
  int64_t count = tensor(map.getResult()).getDimSize(1);
  for (auto [i, input] : llvm::enumerate(map.getInputs())) {
    if (moe::kindAt(map.getKinds(), unsigned(i)) != moe::OperandKind::segment)
      continue;
    auto type = tensor(input);
    int64_t segments = type.getRank() == 2 ? type.getDimSize(1) : type.getNumElements();
    if (count / segments % lanes())
      return 1;
  }
  return lanes();
}

SmallVector<Value> RowsLowering::operandsAt(moe::MapOp map, const DenseMap<Value, Value> &inRegisters, Value n,
                                            int64_t width) {
  auto type = tensor(map.getResult());
  int64_t count = type.getRank() == 2 ? type.getDimSize(1) : 0;
  SmallVector<Value> out;
  for (auto [i, input] : llvm::enumerate(map.getInputs())) {
    if (Value made = inRegisters.lookup(input)) {
      out.push_back(made);
      continue;
    }
    RowValue v = values[input];
    moe::OperandKind kind = moe::kindAt(map.getKinds(), unsigned(i));
    if (count && (kind == moe::OperandKind::elem || kind == moe::OperandKind::col)) {
      out.push_back(loadVector(v, n, width));
      continue;
    }
    Value scalar = v.count == 0
                       ? v.value
                       : loadVector(v, kind == moe::OperandKind::segment ? e.divU(n, count / v.count) : e.c(0), 1);
    out.push_back(width == 1 ? scalar : e.splat(scalar, width));
  }
  return out;
}

void RowsLowering::lowerScalarMap(moe::MapOp map) {
  values[map.getResult()] = {
      e.inlineVectorised(map.getBody(), operandsAt(map, DenseMap<Value, Value>(), Value(), 1), 1)[0],
      tensor(map.getResult()).getElementType(), 0};
}

void RowsLowering::lowerMaps(const RowStep &maps) {
  auto first = cast<moe::MapOp>(maps.front());
  int64_t count = tensor(first.getResult()).getDimSize(1), width = widthOf(first);
  auto isOther = [&](Operation *user) { return !llvm::is_contained(maps, user); };
  DenseMap<Value, RowValue> kept; // what other ops read too
  for (Operation *map : maps)
    if (llvm::any_of(map->getUsers(), isOther))
      kept[map->getResult(0)] = allocate(tensor(map->getResult(0)).getElementType(), count);
  e.loop(e.c(0), e.c(count), width, [&](Value n) {
    DenseMap<Value, Value> inRegisters;
    for (Operation *op : maps) {
      auto map = cast<moe::MapOp>(op);
      e.loc = map.getLoc();
      Value made = e.inlineVectorised(map.getBody(), operandsAt(map, inRegisters, n, width), width)[0];
      inRegisters[map.getResult()] = made;
      if (auto place = kept.find(map.getResult()); place != kept.end())
        storeVector(place->second, n, made);
    }
  });
  values.insert(kept.begin(), kept.end());
}

Value RowsLowering::foldLanes(Value vector, llvm::function_ref<Value(Value, Value)> join) {
  int64_t count = cast<VectorType>(vector.getType()).getNumElements();
  for (; count > 1; count /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < count / 2; ++i) {
      low.push_back(i);
      high.push_back(i + count / 2);
    }
    Value a = vector::ShuffleOp::create(e.b, e.loc, vector, vector, low);
    Value b = vector::ShuffleOp::create(e.b, e.loc, vector, vector, high);
    vector = join(a, b);
  }
  return vector::ExtractOp::create(e.b, e.loc, vector, ArrayRef<int64_t>{0});
}

Value RowsLowering::fold(const RowValue &v, Value begin, int64_t count, int64_t width, Value neutral,
                         llvm::function_ref<Value(Value, Value)> join) {
  int64_t whole = count / width * width, rest = count - whole;
  Value acc = neutral;
  if (whole) {
    auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(whole), e.c(width), ValueRange{acc});
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Value x = loadVector(v, e.add(begin, loop.getInductionVar()), width);
    scf::YieldOp::create(e.b, e.loc, join(loop.getRegionIterArg(0), x));
    acc = loop.getResult(0);
  }
  if (rest) {
    SmallVector<bool> live(width, false);
    std::fill_n(live.begin(), rest, true);
    auto mask =
        arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(VectorType::get({width}, e.b.getI1Type()), live));
    Value x = loadVector(v, e.add(begin, e.c(whole)), width);
    acc = join(acc, e.select(mask, x, neutral));
  }
  return width == 1 ? acc : foldLanes(acc, join);
}

void RowsLowering::lowerReduce(moe::ReduceOp reduce) {
  RowValue x = values[reduce.getInput()];
  bool sum = reduce.getKind() == moe::ReduceKind::sum;
  auto one = [&](Value begin, int64_t count, int64_t width) {
    return sum ? rowSum(x, begin, count, width) : rowMax(x, begin, count, width);
  };
  if (!reduce.getSegments()) {
    values[reduce.getResult()] = {one(e.c(0), x.count, lanes()), x.element, 0};
    return;
  }
  int64_t segments = *reduce.getSegments(), length = x.count / segments;
  RowValue out = allocate(x.element, segments);
  e.loop(e.c(0), e.c(segments), 1,
         [&](Value s) { storeVector(out, s, one(e.mul(s, length), length, segmentWidth(length))); });
  values[reduce.getResult()] = out;
}

void RowsLowering::lowerSoftmax(moe::SoftmaxOp softmax) {
  RowValue x = values[softmax.getInput()], out = allocate(x.element, x.count);
  int64_t segments = int64_t(softmax.getSegments().value_or(1)), length = x.count / segments;
  int64_t width = segments == 1 ? lanes() : segmentWidth(length);
  auto spread = [&](Value v) { return width == 1 ? v : e.splat(v, width); };
  e.loop(e.c(0), e.c(segments), 1, [&](Value s) {
    Value begin = e.mul(s, length), end = e.add(begin, e.c(length));
    Value top = spread(rowMax(x, begin, length, width));
    e.loop(begin, end, width, [&](Value n) {
      Value shifted = arith::SubFOp::create(e.b, e.loc, loadVector(x, n, width), top);
      storeVector(out, n, math::ExpOp::create(e.b, e.loc, shifted));
    });
    Value sum = spread(rowSum(out, begin, length, width));
    e.loop(begin, end, width,
           [&](Value n) { storeVector(out, n, arith::DivFOp::create(e.b, e.loc, loadVector(out, n, width), sum)); });
  });
  values[softmax.getResult()] = out;
}

void RowsLowering::lowerColumns(moe::ColumnsOp columns) {
  if (auto numbers = columns.getNumbers()) { // the same for all rows
    values[columns.getResult()] = {e.numberTable(*numbers, lanes(), 0), e.b.getI32Type(), int64_t(numbers->size()),
                                   true};
    return;
  }
  RowValue out = allocate(e.b.getI32Type(), tensor(columns.getResult()).getDimSize(1));
  e.loop(e.c(0), e.c(out.count), 1,
         [&](Value n) { storeVector(out, n, arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), n)); });
  values[columns.getResult()] = out;
}

void RowsLowering::lowerPrefixSum(moe::PrefixSumOp prefix) {
  RowValue x = values[prefix.getInput()], out = allocate(x.element, x.count);
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(x.count), e.c(1), ValueRange{constantF32(0, 1)});
  {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Value n = loop.getInductionVar(), before = loop.getRegionIterArg(0), next = e.addF(before, loadVector(x, n, 1));
    storeVector(out, n, before);
    scf::YieldOp::create(e.b, e.loc, next);
  }
  values[prefix.getResult()] = out;
}

// The row is copied where it is, or filled with -1: what follows then reads a run like any other.
void RowsLowering::lowerLookup(moe::LookupOp lookup) {
  RowValue table = values[lookup.getTable()];
  auto type = tensor(lookup.getTable());
  int64_t rows = type.getDimSize(0), count = type.getDimSize(1);
  RowValue out = allocate(table.element, count);
  Value index = e.toI64(values[lookup.getIndex()].value);
  e.when(
      compare(arith::CmpIPredicate::ult, index, e.c(rows)),
      [&] { e.copy(out.value, e.at(table.value, e.mul(index, table.stride)), count * 4); },
      [&] { e.loop(e.c(0), e.c(count), 1, [&](Value n) { storeVector(out, n, constantF32(-1, 1)); }); });
  values[lookup.getResult()] = out;
}

// Selection works on integers that order as the values do, so that every row, NaN or not, gives k distinct ids:
//
//     key(x) = bits(x + 0) with the low 31 bits of negative numbers flipped,  NaN: INT_MIN + 1,  taken or no value:
//     INT_MIN
//
// and the largest key wins, the lower column among equals.
void RowsLowering::lowerTopK(moe::TopKOp top) {
  RowValue x = values[top.getChoice()];
  int64_t segments = top.getSegments().value_or(1), length = x.count / segments, k = top.getK(), width = lanes();
  Type i32 = e.b.getI32Type();
  RowValue keys = allocate(i32, x.count), ids = allocate(i32, segments * k);
  int64_t padded = (x.count + width - 1) / width * width;
  if (padded != x.count) // idle lanes of the last vector never win; its real columns are written below
    e.store(e.constantI32(INT32_MIN, width), e.at(keys.value, (padded - width) * 4), 4);
  auto key = [&](Value n, int64_t w) {
    Value v = e.addF(loadVector(x, n, w), constantF32(0, w));
    Value bits = e.bitcast(v, w > 1 ? Type(e.vec(i32, w)) : i32);
    Value sign = arith::ShRSIOp::create(e.b, e.loc, bits, constantInt(31, w));
    Value ordered =
        arith::XOrIOp::create(e.b, e.loc, bits, arith::AndIOp::create(e.b, e.loc, sign, constantInt(0x7fffffff, w)));
    Value nan = compare(arith::CmpFPredicate::UNO, v, v);
    storeVector(keys, n, e.select(nan, constantInt(INT32_MIN + 1, w), ordered));
  };
  int64_t whole = x.count / width * width;
  e.loop(e.c(0), e.c(whole), width, [&](Value n) { key(n, width); });
  e.loop(e.c(whole), e.c(x.count), 1, [&](Value n) { key(n, 1); });
  bool vectors = segments == 1 || length % width == 0;
  e.loop(e.c(0), e.c(segments), 1, [&](Value s) {
    Value begin = e.mul(s, length);
    e.loop(e.c(0), e.c(k), 1, [&](Value j) {
      int64_t reach = vectors ? (length + width - 1) / width * width : length;
      selectLargest(keys, begin, reach, vectors ? width : 1, ids, e.add(e.mul(s, k), j));
    });
  });
  values[top.getIds()] = ids;
}

// ids[at] = column of the largest key in [begin, begin + count), which is then taken.
void RowsLowering::selectLargest(const RowValue &keys, Value begin, int64_t count, int64_t width, const RowValue &ids,
                                 Value at) {
  Value best = constantInt(INT32_MIN, width), where = constantInt(0, width);
  Value column = constantInt(0, width);
  if (width > 1) {
    SmallVector<int32_t> iota;
    for (int64_t i = 0; i < width; ++i)
      iota.push_back(int32_t(i));
    column =
        arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(e.vec(e.b.getI32Type(), width), ArrayRef(iota)));
  }
  auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(count), e.c(width), ValueRange{best, where, column});
  {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToEnd(loop.getBody());
    Value v = loadVector(keys, e.add(begin, loop.getInductionVar()), width), now = loop.getRegionIterArg(2);
    Value greater = compare(arith::CmpIPredicate::sgt, v, loop.getRegionIterArg(0));
    Value newBest = e.select(greater, v, loop.getRegionIterArg(0));
    Value newWhere = e.select(greater, now, loop.getRegionIterArg(1));
    scf::YieldOp::create(e.b, e.loc, ValueRange{newBest, newWhere, e.add(now, constantInt(int32_t(width), width))});
  }
  where = loop.getResult(1);
  if (width > 1) {
    auto larger = [&](Value a, Value b) -> Value { return arith::MaxSIOp::create(e.b, e.loc, a, b); };
    auto smaller = [&](Value a, Value b) -> Value { return arith::MinSIOp::create(e.b, e.loc, a, b); };
    Value top = e.splat(foldLanes(loop.getResult(0), larger), width);
    Value equal = compare(arith::CmpIPredicate::eq, loop.getResult(0), top);
    where = foldLanes(e.select(equal, where, e.constantI32(INT32_MAX, width)), smaller);
  }
  Value n = e.add(begin, e.toI64(where));
  storeVector(keys, n, e.c32(INT32_MIN));
  storeVector(ids, at, arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), n));
}

void RowsLowering::lowerMember(moe::MemberOp member) {
  RowValue ids = values[member.getIds()];
  int64_t count = tensor(member.getMask()).getDimSize(1);
  RowValue mask = allocate(e.b.getI1Type(), count);
  e.loop(e.c(0), e.c(count), lanes(),
         [&](Value n) { e.store(e.constantI32(0, lanes()), e.at(mask.value, e.mul(n, 4)), 4); });
  e.loop(e.c(0), e.c(ids.count), 1, [&](Value j) {
    Value id = e.toI64(loadVector(ids, j, 1));
    e.when(compare(arith::CmpIPredicate::ult, id, e.c(count)),
           [&] { e.store(e.c32(1), e.at(mask.value, e.mul(id, 4)), 4); });
  });
  values[member.getMask()] = mask;
}

void RowsLowering::lowerTake(moe::TakeOp take) {
  RowValue x = values[take.getInput()], ids = values[take.getIds()], out = allocate(x.element, ids.count);
  e.loop(e.c(0), e.c(ids.count), 1, [&](Value j) {
    Value id = e.toI64(loadVector(ids, j, 1));
    Value inside = compare(arith::CmpIPredicate::ult, id, e.c(x.count));
    Value v = loadVector(x, e.select(inside, id, e.c(0)), 1); // column 0 always exists
    Value none = x.element.isInteger(32) ? e.c32(0) : constantF32(0, 1);
    storeVector(out, j, e.select(inside, v, none));
  });
  values[take.getResult()] = out;
}

void RowsLowering::lowerPut(moe::PutOp put) {
  RowValue v = values[put.getInput()], ids = values[put.getIds()];
  RowValue out = allocate(v.element, tensor(put.getResult()).getDimSize(1));
  e.loop(e.c(0), e.c(out.count), lanes(), [&](Value n) { storeVector(out, n, constantF32(0, lanes())); });
  e.loop(e.c(0), e.c(ids.count), 1, [&](Value j) {
    Value id = e.toI64(loadVector(ids, j, 1));
    e.when(compare(arith::CmpIPredicate::ult, id, e.c(out.count)),
           [&] { storeVector(out, id, e.addF(loadVector(out, id, 1), loadVector(v, j, 1))); });
  });
  values[put.getResult()] = out;
}

void RowsLowering::lowerGather(moe::GatherOp gather) {
  auto [token, slot, choice] = routes[gather.getRoute()];
  RowValue x = values[gather.getInput()];
  Type element = x.element;
  int64_t bytes = size(element);
  if (tensor(gather.getResult()).getRank() == 1) {
    Value index = gather.bySlot() ? slot : token;
    values[gather.getResult()] = {e.load(element, e.at(x.value, e.mul(index, bytes)), unsigned(bytes)), element, 0};
    return;
  }
  Value from = e.mul(token, x.stride);
  if (gather.bySlot()) { // slot = token * K + choice
    int64_t own = gather.slotColumns() * bytes;
    from = e.add(e.mul(token, x.stride - x.count * bytes), e.mul(slot, own));
  }
  RowValue out = allocate(element, tensor(gather.getResult()).getDimSize(1));
  e.copy(out.value, e.at(x.value, from), out.count * bytes);
  values[gather.getResult()] = out;
}

// Row scope * S + slot; row_token is the first token of the row's scope.
void RowsLowering::lowerSlotRows(moe::SlotRowsOp op) {
  const RouteRow &own = routes[op.getRoute()];
  RowValue x = values[op.getInput()];
  Value row = own.choice;
  if (auto numbers = op.getNumbers())
    row = e.toI64(e.load(e.b.getI32Type(), e.at(e.numberTable(*numbers, 0, 0), e.mul(row, 4)), 4));
  if (op.getScope() == moe::Scope::sequence) {
    Value length = e.load(e.i64(), e.at(call, int64_t(offsetof(moec_call, sequence_tokens))), 8);
    Value scope = arith::DivUIOp::create(e.b, e.loc, own.token, length);
    row = e.add(e.mul(scope, int64_t(op.getSlots())), row);
  }
  RowValue out = allocate(x.element, tensor(op.getResult()).getDimSize(1));
  e.copy(out.value, e.at(x.value, e.mul(row, x.stride)), out.count * size(x.element));
  values[op.getResult()] = out;
}

void RowsLowering::storeResult(Value result, Type type, Value row, Value buffer, int64_t stride) {
  RowValue v = values[result];
  Value to = e.at(buffer, e.mul(row, stride));
  if (v.count)
    e.copy(to, v.value, v.count * size(v.element));
  else
    e.store(v.value, to, unsigned(size(v.element)));
}

} // namespace

int64_t lowerRowProgram(moe::RowProgramOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                        StringRef symbol) {
  return RowsLowering(op, strides, isa).run(module, symbol);
}

} // namespace moec
