// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rule of a combine whose rows are a sum of matmuls and parameters: experts' outputs with a bias, an adapter, a
// factor, a mask.
//
//   y_t = sum_j w_tj r_tj   r = sum_i L_i v_i   g_i = L_iᵀ dy          L_i: what the maps do, element by element
//   dw = <dy, r> = sum_i <g_i, v_i>
//   v = D h:           u = Dᵀ g   dh = w u   dD = g (w h)ᵀ   <g, v> = <u, h>
//   v = b, per group:  db = sum of w g over the group's rows   <g, v> = <b, g>
//
// <dy, r> would need r again, the experts' outputs, which are as wide as x. The weight of dD multiplies h, which is
// narrower than dy: so dy is only read through the route.

#include "codegen/grad/GradientRules.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

// How a scalar of a map's region depends on the terms among its arguments.
enum class Dependence { none, linear, other };

class MapDependence {
public:
  explicit MapDependence(ArrayRef<bool> isTerm) : isTerm(isTerm) {}

  Dependence of(Value scalar) {
    if (auto argument = dyn_cast<BlockArgument>(scalar))
      return isTerm[argument.getArgNumber()] ? Dependence::linear : Dependence::none;
    Operation *op = scalar.getDefiningOp();
    SmallVector<Dependence> all;
    for (Value operand : op->getOperands())
      all.push_back(of(operand));
    if (llvm::all_of(all, [](Dependence one) { return one == Dependence::none; }))
      return Dependence::none;
    return llvm::TypeSwitch<Operation *, Dependence>(op)
        .Case<arith::ExtFOp, arith::TruncFOp>([&](auto) { return all[0]; })
        .Case<arith::AddFOp, arith::SubFOp>([&](auto) { return all[0] == all[1] ? all[0] : Dependence::other; })
        .Case([&](arith::MulFOp) {
          bool oneIsFree = all[0] == Dependence::none || all[1] == Dependence::none;
          return oneIsFree ? std::max(all[0], all[1]) : Dependence::other;
        })
        .Default(Dependence::other);
  }

private:
  ArrayRef<bool> isTerm;
};

bool isParameter(Value value) { return isa<BlockArgument>(value) && RowOps::typeOf(value).hasStaticShape(); }

} // namespace

bool GradientRules::isLinear(Value rows, Value route) {
  if (auto matmul = rows.getDefiningOp<GroupedMatmulOp>())
    return rowSpaceOf(rows) == route;
  auto map = rows.getDefiningOp<MapOp>();
  if (!map)
    return false;
  SmallVector<bool> isTerm;
  for (auto [i, input] : llvm::enumerate(map.getInputs())) {
    OperandKind kind = kindAt(map.getKinds(), unsigned(i));
    isTerm.push_back(kind == OperandKind::elem ? isLinear(input, route)
                                               : kind == OperandKind::col && isParameter(input));
    if (!isTerm.back() && active.contains(input)) // a factor with a gradient, which takes the rows
      return false;
  }
  Value yielded = map.getBody().front().getTerminator()->getOperand(0);
  return MapDependence(isTerm).of(yielded) == Dependence::linear;
}

void GradientRules::ofWeightedSum(CombineOp op, Value d) {
  Value route = op.getRoute(), weights = op.getWeights();
  WeightedSum sum{route, gatherChoices(weights, route), active.contains(weights), {}};
  visitTerm(op.getRows(), gather(d, route), sum);
  if (!sum.wantsWeights)
    return;
  SmallVector<Bound> parts;
  for (Value product : sum.products)
    parts.push_back({product, OperandKind::elem});
  Value total = sum.products.front();
  if (parts.size() > 1)
    total = map(parts, typeOf(total), [&](ValueRange v) {
      Value all = v[0];
      for (Value part : v.drop_front())
        all = RowOps::add(all, part);
      return all;
    });
  add(weights, SlotValuesOp::create(builder, loc, weights.getType(), total, route));
}

// `rows` is linear, so every op of its map has a rule.
void GradientRules::visitTerm(Value rows, Value d, WeightedSum &sum) {
  if (auto matmul = rows.getDefiningOp<GroupedMatmulOp>())
    return visitMatmul(matmul, d, sum);
  auto map = rows.getDefiningOp<MapOp>();
  for (auto [i, input] : llvm::enumerate(map.getInputs())) {
    OperandKind kind = kindAt(map.getKinds(), unsigned(i));
    bool parameter = kind == OperandKind::col && isParameter(input);
    if (!parameter && !(kind == OperandKind::elem && isLinear(input, sum.route)))
      continue;
    FailureOr<Value> elements = elementsOf(map, unsigned(i), d);
    if (failed(elements) || !*elements)
      continue;
    if (parameter)
      visitParameter(input, *elements, sum);
    else
      visitTerm(input, *elements, sum);
  }
}

void GradientRules::visitMatmul(GroupedMatmulOp matmul, Value d, WeightedSum &sum) {
  Value h = matmul.getA();
  bool passes = sum.wantsWeights || active.contains(h);
  if (passes) {
    Value u = throughMatrices(matmul, d);
    add(h, scaledBy(u, sum.weights, f32()));
    if (sum.wantsWeights)
      sum.products.push_back(sumRows(map({{u, OperandKind::elem}, {h, OperandKind::elem}}, typeOf(u),
                                         [&](ValueRange v) { return multiply(v[0], toF32(v[1])); })));
  }
  if (active.contains(matmul.getB().front()))
    addOuter(matmul, d, scaledBy(h, sum.weights, typeOf(h).getElementType()));
}

void GradientRules::visitParameter(Value parameter, Value elements, WeightedSum &sum) {
  Value g = unwidened(elements); // so that a map reads dy as it comes
  if (sum.wantsWeights)
    sum.products.push_back(sumRows(map({{g, OperandKind::elem}, {parameter, OperandKind::col}}, gradientType(g),
                                       [&](ValueRange v) { return multiply(toF32(v[0]), toF32(v[1])); })));
  if (active.contains(parameter))
    add(parameter, summedTo(parameter, OperandKind::col, scaledBy(g, sum.weights, f32()), sum.route));
}

} // namespace moec
