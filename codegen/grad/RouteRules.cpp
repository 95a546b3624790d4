// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of ops that see more than one row.

#include "codegen/grad/GradientRules.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace moec {

using namespace moe;

Value GradientRules::total(Value values) {
  auto type = RankedTensorType::get({columnsOf(values)}, f32());
  return TokenTotalOp::create(builder, loc, type, values, TotalKind::sum);
}

DenseI64ArrayAttr GradientRules::frozenOf(Value parameter) {
  auto found = frozen.find(parameter);
  return found == frozen.end() ? DenseI64ArrayAttr() : builder.getDenseI64ArrayAttr(found->second);
}

Value GradientRules::perGroup(Value elements, Value route, Value parameter) {
  return GroupSumOp::create(builder, loc, gradientType(parameter), elements, route, frozenOf(parameter));
}

LogicalResult GradientRules::ofGather(GatherOp op, Value d) {
  Value x = op.getInput(), route = op.getRoute();
  if (!active.contains(x))
    return success();
  if (route.getDefiningOp<SlotsOp>()) // every token has every slot of its scope, a slot has one token
    return op.emitOpError("has no gradient rule over slots"), failure();
  if (op.bySlot() && typeOf(op.getResult()).getRank() == 2) // masks come this way, which have none
    return op.emitOpError("has no gradient rule for columns of slots"), failure();
  int64_t choices = cast<RouteType>(route.getType()).getChoices();
  auto toSlots = [&]() -> Value { return SlotValuesOp::create(builder, loc, rows(f32(), choices), d, route); };
  add(x, op.bySlot() ? toSlots() : typeOf(x).getRank() == 1 ? sumRows(toSlots()) : combine(d, route, {}));
  return success();
}

// v where `wide` is v, widened; null where it is not.
static Value widenedFrom(Value wide) {
  auto map = wide.getDefiningOp<MapOp>();
  if (!map || map.getInputs().size() != 1 || kindAt(map.getKinds(), 0) != OperandKind::elem)
    return {};
  auto widening = map.getBody().front().getTerminator()->getOperand(0).getDefiningOp<arith::ExtFOp>();
  bool plain = widening && widening.getIn() == map.getBody().getArgument(0);
  return plain ? map.getInputs()[0] : Value();
}

Value GradientRules::scaledBy(Value rows, Value factors, Type element) {
  auto type = RankedTensorType::get(typeOf(rows).getShape(), element);
  return map({{rows, OperandKind::elem}, {factors, OperandKind::row}}, type,
             [&](ValueRange v) { return fromF32(multiply(toF32(v[0]), v[1]), element); });
}

void GradientRules::ofCombine(CombineOp op, Value d) {
  Value all = op.getRows(), route = op.getRoute(), weights = op.getWeights();
  if (weights && route.getDefiningOp<DispatchOp>() && isLinear(all, route))
    return ofWeightedSum(op, d);
  if (weights && active.contains(weights))
    add(weights, SlotProductsOp::create(builder, loc, weights.getType(), d, all, route));
  if (!active.contains(all))
    return;
  if (route.getDefiningOp<SlotsOp>()) { // every token reads every slot of its scope
    Value slots = weights ? weights : ones(cast<RouteType>(route.getType()).getChoices());
    return add(all, SlotInputsOp::create(builder, loc, gradientType(all), d, slots, route));
  }
  Value ofToken = gather(d, route);
  if (!weights)
    return add(all, ofToken);
  add(all, scaledBy(ofToken, gatherChoices(weights, route), f32()));
}

void GradientRules::ofSlotInputs(SlotInputsOp op, Value d) {
  Value x = op.getInput(), weights = op.getWeights(), route = op.getRoute();
  if (active.contains(x))
    add(x, combine(d, route, weights));
  if (active.contains(weights))
    add(weights, SlotProductsOp::create(builder, loc, weights.getType(), x, d, route));
}

// What was only widened, dy for one, and then perhaps brought to rows, as it was before.
Value GradientRules::unwidened(Value d) {
  if (auto gather = d.getDefiningOp<GatherOp>(); gather && !gather.bySlot())
    if (Value before = widenedFrom(gather.getInput()))
      return RowOps::gather(before, gather.getRoute());
  Value before = widenedFrom(d);
  return before ? before : d;
}

Value GradientRules::narrowed(Value d, Type element) {
  Value before = unwidened(d);
  return typeOf(before).getElementType() == element ? before : rounded(d, element);
}

Value GradientRules::throughMatrices(GroupedMatmulOp op, Value d) {
  auto kinds = kindArray(builder.getContext(), {});
  return GroupedMatmulOp::create(builder, loc, gradientType(op.getA()), narrowed(d, typeOf(op.getA()).getElementType()),
                                 op.getB().front(), op.getRoute(), ValueRange(), ValueRange(), kinds, kinds,
                                 /*gathered=*/UnitAttr(), builder.getUnitAttr());
}

void GradientRules::addOuter(GroupedMatmulOp op, Value d, Value a) {
  Value b = op.getB().front();
  if (active.contains(b))
    add(b, GroupedOuterOp::create(builder, loc, gradientType(b), narrowed(d, typeOf(a).getElementType()), a,
                                  op.getRoute(), frozenOf(b)));
}

void GradientRules::ofMatmul(GroupedMatmulOp op, Value d) {
  if (active.contains(op.getA()))
    add(op.getA(), throughMatrices(op, d));
  addOuter(op, d, op.getA());
}

void GradientRules::ofTokenReduce(TokenReduceOp op, Value d) {
  Value x = op.getInput();
  Value sum = tokenReduce(d, ReduceKind::sum, op.getScope());
  if (op.getKind() == ReduceKind::sum)
    return add(x, sum);
  Value most = isMost(x, op.getResult(), OperandKind::elem);
  Value count = tokenReduce(most, ReduceKind::sum, op.getScope());
  add(x, map({{most, OperandKind::elem}, {sum, OperandKind::elem}, {count, OperandKind::elem}}, typeOf(x),
             [&](ValueRange v) { return select(isGreater(v[0], number(0)), divide(v[1], v[2]), number(0)); }));
}

void GradientRules::ofTokenTotal(TokenTotalOp op, Value d) {
  Value x = op.getInput();
  if (op.getKind() == TotalKind::sum)
    return add(x, everywhere(d, OperandKind::col, typeOf(x)));
  if (op.getKind() == TotalKind::mean) {
    Value tokens = total(ones(1));
    return add(x, map({{d, OperandKind::col}, {tokens, OperandKind::scalar}}, gradientType(x),
                      [&](ValueRange v) { return divide(v[0], v[1]); }));
  }
  Value most = isMost(x, op.getResult(), OperandKind::col);
  Value count = total(most);
  add(x, map({{most, OperandKind::elem}, {d, OperandKind::col}, {count, OperandKind::col}}, gradientType(x),
             [&](ValueRange v) { return select(isGreater(v[0], number(0)), divide(v[1], v[2]), number(0)); }));
}

} // namespace moec
