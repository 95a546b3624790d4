// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The sums of parts, and the rules of ops on rows. RouteRules.cpp has those of routes and tokens.

#include "codegen/grad/GradientRules.h"

#include "codegen/grad/ScalarGradient.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace moec {

using namespace moe;

RankedTensorType gradientType(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return RankedTensorType::get(type.getShape(), Float32Type::get(type.getContext()));
}

void eraseUnused(Block &block) {
  SmallVector<Operation *> ops;
  for (Operation &op : block.without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops))
    if (op->use_empty())
      op->erase();
}

bool GradientRules::passesTo(OpOperand &operand) {
  auto type = dyn_cast<RankedTensorType>(operand.get().getType());
  if (!type || !isa<FloatType>(type.getElementType()))
    return false;
  Operation *op = operand.getOwner();
  if (isa<TopKOp, MemberOp, CapacityOp, TopTokensOp, DispatchOp, ColumnsOp, SlotsOp, SlotRowsOp>(op))
    return false;
  return llvm::all_of(op->getResultTypes(),
                      [](Type result) { return isa<FloatType>(cast<RankedTensorType>(result).getElementType()); });
}

void GradientRules::add(Value value, Value d) {
  if (d && active.contains(value))
    parts[value].push_back(d);
}

Value GradientRules::gradientOf(Value value) {
  SmallVector<Value, 2> &all = parts[value];
  if (all.empty())
    return {};
  if (all.size() == 1)
    return all.front();
  Value sum;
  if (gradientType(value).hasStaticShape()) {
    sum = ParameterSumOp::create(builder, loc, gradientType(value), all);
  } else {
    SmallVector<Bound> operands;
    for (Value part : all)
      operands.push_back({part, OperandKind::elem});
    sum = map(operands, gradientType(value), [&](ValueRange v) {
      Value total = v[0];
      for (Value part : v.drop_front())
        total = RowOps::add(total, part);
      return total;
    });
  }
  all = {sum};
  return sum;
}

LogicalResult GradientRules::differentiate(Operation *op) {
  bool wanted = llvm::any_of(op->getOpOperands(), [&](OpOperand &operand) { return active.contains(operand.get()); });
  Value d = wanted && op->getNumResults() ? gradientOf(op->getResult(0)) : Value();
  if (!d)
    return success();
  auto done = [](auto &&...) { return success(); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](MapOp o) { return ofMap(o, d); })
      .Case([&](ReduceOp o) { return ofReduce(o, d), success(); })
      .Case([&](SoftmaxOp o) { return ofSoftmax(o, d), success(); })
      .Case([&](PrefixSumOp o) { return ofPrefixSum(o, d), success(); })
      .Case([&](LookupOp o) { return ofLookup(o, d); })
      .Case([&](TakeOp o) { return ofTake(o, d), success(); })
      .Case([&](PutOp o) { return add(o.getInput(), take(d, o.getIds())), success(); })
      .Case([&](GatherOp o) { return ofGather(o, d); })
      .Case([&](CombineOp o) { return ofCombine(o, d), success(); })
      .Case([&](SlotInputsOp o) { return ofSlotInputs(o, d), success(); })
      .Case([&](GroupedMatmulOp o) { return ofMatmul(o, d), success(); })
      .Case([&](SquareSumsOp o) {
        Value w = o.getMatrix();
        add(w, ScaledRowsOp::create(builder, loc, gradientType(w), w, d, llvm::APFloat(2.0)));
        return success();
      })
      .Case([&](TokenReduceOp o) { return ofTokenReduce(o, d), success(); })
      .Case([&](TokenTotalOp o) { return ofTokenTotal(o, d), success(); })
      .Case<TopKOp, MemberOp, CapacityOp, TopTokensOp, DispatchOp, ColumnsOp, SlotsOp, SlotRowsOp>(done)
      .Default([](Operation *other) { return other->emitOpError("has no gradient rule"), failure(); });
}

// ---- map ---------------------------------------------------------------------------------------------------------

// The map without the operands that its region does not read; at least one keeps the rows.
static Value withoutUnused(MapOp op) {
  SmallVector<Value> inputs;
  SmallVector<OperandKind> kinds;
  llvm::BitVector unused(op.getBody().getNumArguments());
  auto hasRows = [](OperandKind kind) { return kind != OperandKind::col && kind != OperandKind::scalar; };
  bool rows = false;
  for (auto [i, argument] : llvm::enumerate(op.getBody().getArguments()))
    rows |= !argument.use_empty() && hasRows(kindAt(op.getKinds(), unsigned(i)));
  for (auto [i, argument] : llvm::enumerate(op.getBody().getArguments())) {
    OperandKind kind = kindAt(op.getKinds(), unsigned(i));
    bool keepsRows = !rows && hasRows(kind);
    rows |= keepsRows;
    if (argument.use_empty() && !keepsRows) {
      unused.set(unsigned(i));
      continue;
    }
    inputs.push_back(op.getInputs()[i]);
    kinds.push_back(kind);
  }
  if (unused.none())
    return op;
  OpBuilder builder(op);
  auto slim = MapOp::create(builder, op.getLoc(), op.getType(), inputs, kindArray(op.getContext(), kinds));
  slim.getBody().takeBody(op.getBody());
  slim.getBody().front().eraseArguments(unused);
  op.erase();
  return slim;
}

FailureOr<Value> GradientRules::elementsOf(MapOp op, unsigned index, Value d) {
  SmallVector<Bound> operands;
  for (auto [i, input] : llvm::enumerate(op.getInputs()))
    operands.push_back({input, kindAt(op.getKinds(), unsigned(i))});
  operands.push_back({d, OperandKind::elem});
  bool failedInside = false, isZeroEverywhere = false, passed = false;
  Value result = map(operands, gradientType(op.getResult()), [&](ValueRange v) -> Value {
    FailureOr<Value> found = ScalarGradient(*this, builder).of(op.getBody(), v.drop_back(), index, v.back());
    failedInside = failed(found);
    isZeroEverywhere = succeeded(found) && !*found;
    passed = succeeded(found) && *found == v.back();
    return failedInside || isZeroEverywhere ? v.back() : *found;
  });
  auto made = result.getDefiningOp<MapOp>();
  if (failedInside || isZeroEverywhere || passed) {
    made.erase();
    return failedInside ? FailureOr<Value>(failure()) : FailureOr<Value>(isZeroEverywhere ? Value() : d);
  }
  eraseUnused(made.getBody().front());
  return withoutUnused(made);
}

LogicalResult GradientRules::ofMap(MapOp op, Value d) {
  RowSpace space = rowSpaceOf(op.getResult());
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    if (!active.contains(input))
      continue;
    FailureOr<Value> elements = elementsOf(op, unsigned(i), d);
    if (failed(elements))
      return failure();
    if (*elements)
      add(input, summedTo(input, kindAt(op.getKinds(), unsigned(i)), *elements, space));
  }
  return success();
}

Value GradientRules::summedTo(Value operand, OperandKind kind, Value elements, RowSpace space) {
  bool vector = typeOf(elements).getRank() == 1;
  switch (kind) {
  case OperandKind::elem:
    return elements;
  case OperandKind::row:
    return sumRows(elements);
  case OperandKind::segment:
    return reducedRuns(elements, ReduceKind::sum, columnsOf(operand));
  case OperandKind::col:
    if (typeOf(operand).getRank() == 2)
      return perGroup(elements, space, operand);
    return columnTotals(elements, space);
  case OperandKind::scalar:
    return columnTotals(asColumn(vector ? elements : sumRows(elements)), space);
  }
  return {};
}

Value GradientRules::columnTotals(Value elements, RowSpace space) {
  if (!space)
    return total(elements);
  auto type = RankedTensorType::get({columnsOf(elements)}, f32());
  return GroupSumOp::create(builder, loc, type, elements, space, DenseI64ArrayAttr());
}

// ---- rows --------------------------------------------------------------------------------------------------------

Value GradientRules::everywhere(Value d, OperandKind kind, RankedTensorType like) {
  auto type = RankedTensorType::get(like.getShape(), f32());
  return map({{d, kind}}, type, [&](ValueRange v) { return v[0]; });
}

Value GradientRules::isMost(Value values, Value most, OperandKind kind) {
  return map({{values, OperandKind::elem}, {most, kind}}, typeOf(values), [&](ValueRange v) {
    Value same = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[0], v[1]);
    return select(same, number(1), number(0));
  });
}

void GradientRules::ofReduce(ReduceOp op, Value d) {
  Value x = op.getInput();
  int64_t runs = int64_t(op.getSegments().value_or(1));
  OperandKind kind = op.getSegments() ? OperandKind::segment : OperandKind::row;
  if (op.getKind() == ReduceKind::sum)
    return add(x, everywhere(d, kind, typeOf(x)));
  Value most = isMost(x, op.getResult(), kind);
  Value count = op.getSegments() ? reducedRuns(most, ReduceKind::sum, runs) : sumRows(most);
  add(x, map({{most, OperandKind::elem}, {d, kind}, {count, kind}}, typeOf(x),
             [&](ValueRange v) { return select(isGreater(v[0], number(0)), divide(v[1], v[2]), number(0)); }));
}

void GradientRules::ofSoftmax(SoftmaxOp op, Value d) {
  Value p = op.getResult();
  Value products = map({{p, OperandKind::elem}, {d, OperandKind::elem}}, typeOf(p),
                       [&](ValueRange v) { return multiply(v[0], v[1]); });
  bool segments = bool(op.getSegments());
  Value sums = segments ? reducedRuns(products, ReduceKind::sum, int64_t(*op.getSegments())) : sumRows(products);
  add(op.getInput(),
      map({{p, OperandKind::elem}, {d, OperandKind::elem}, {sums, segments ? OperandKind::segment : OperandKind::row}},
          typeOf(p), [&](ValueRange v) { return multiply(v[0], subtract(v[1], v[2])); }));
}

// The sum of d behind a column is that of the row less what lies before it and itself.
void GradientRules::ofPrefixSum(PrefixSumOp op, Value d) {
  Value before = PrefixSumOp::create(builder, loc, d.getType(), d);
  add(op.getInput(), map({{sumRows(d), OperandKind::row}, {before, OperandKind::elem}, {d, OperandKind::elem}},
                         typeOf(d), [&](ValueRange v) { return subtract(subtract(v[0], v[1]), v[2]); }));
}

// Whether ids [T,K] are the group of every slot: column s holds s / (K / G).
static bool areGroupsOfSlots(Value ids, RouteType route) {
  auto map = ids.getDefiningOp<MapOp>();
  if (!map || map.getInputs().size() != 1)
    return false;
  auto columns = map.getInputs()[0].getDefiningOp<ColumnsOp>();
  auto quotient = map.getBody().front().getTerminator()->getOperand(0).getDefiningOp<arith::DivSIOp>();
  auto by = quotient ? quotient.getRhs().getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
  return columns && !columns.getNumbers() && by && quotient.getLhs() == map.getBody().getArgument(0) &&
         cast<IntegerAttr>(by.getValue()).getInt() == route.getChoices() / route.getGroups();
}

// Whether the lookup's numbers are the groups of its rows.
static bool readsOwnGroup(LookupOp op, Value route) {
  auto index = op.getIndex().getDefiningOp<GatherOp>();
  auto type = cast<RouteType>(route.getType());
  if (!index || index.getRoute() != route || RowOps::typeOf(op.getTable()).getDimSize(0) != type.getGroups())
    return false;
  if (auto dispatch = route.getDefiningOp<DispatchOp>())
    return index.getInput() == dispatch.getIds();
  return route.getDefiningOp<SlotsOp>() && areGroupsOfSlots(index.getInput(), type);
}

LogicalResult GradientRules::ofLookup(LookupOp op, Value d) {
  Value table = op.getTable();
  if (!active.contains(table))
    return success();
  if (RowSpace route = rowSpaceOf(op.getResult())) {
    if (!readsOwnGroup(op, route))
      return op.emitOpError("has no gradient rule for numbers other than the groups of its rows"), failure();
    return add(table, perGroup(d, route, table)), success();
  }
  Value ids = map({{op.getIndex(), OperandKind::row}}, rows(i32(), 1), [&](ValueRange v) { return v[0]; });
  auto type = RouteType::get(builder.getContext(), typeOf(table).getDimSize(0), 1);
  Value route = DispatchOp::create(builder, loc, type, ids);
  add(table, perGroup(gather(d, route), route, table));
  return success();
}

void GradientRules::ofTake(TakeOp op, Value d) {
  Value x = op.getInput();
  bool vector = typeOf(x).getRank() == 1;
  Value spread = put(d, op.getIds(), typeOf(x).getShape().back());
  add(x, vector ? columnTotals(spread, rowSpaceOf(op.getResult())) : spread);
}

} // namespace moec
