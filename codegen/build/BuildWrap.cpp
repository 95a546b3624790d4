// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands around the experts: which tokens a wrap lets through, the dense block of the others, and y.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <limits>

using namespace mlir;

namespace moec {

using moe::OperandKind;

// [T,1] ⟨x, w⟩, with a bias except for depth
Value LayerBuilder::wrapLogit() {
  LayerWrap wrap = spec.layer.wrap;
  std::string name = wrap == LayerWrap::Depth ? "depth" : wrap == LayerWrap::Skip ? "skip" : "selector";
  Value z = matmul(x, parameter(name + ".weight"), Value());
  if (wrap == LayerWrap::Depth)
    return z;
  return map({{z, OperandKind::elem}, {parameter(name + ".bias"), OperandKind::col}},
             cast<RankedTensorType>(z.getType()), [&](ValueRange v) { return add(v[0], v[1]); });
}

// depth: the C largest r of each scope. skip: σ(r) <= threshold. conditional: σ(r) > threshold.
void LayerBuilder::buildPresence() {
  const WrapSpec &layer = spec.layer;
  if (layer.wrap == LayerWrap::None)
    return;
  Value r = wrapLogit();
  Type i32 = builder.getI32Type();
  if (layer.wrap == LayerWrap::Depth) {
    wrapFactor = rowsOf(r);
    bool share = !layer.tokens;
    present = moe::TopTokensOp::create(
        builder, loc, rows(i32, 1), r, Value(), share ? moe::PlacesMode::share : moe::PlacesMode::fixed,
        APFloat(share ? *layer.capacity : double(*layer.tokens)), uint64_t(1), uint64_t(1), moe::Rounding::floor,
        uint64_t(share ? 1 : 0), uint64_t(INT32_MAX),
        layer.scope == SelectScope::Batch ? moe::Scope::batch : moe::Scope::sequence, uint64_t(0));
    return;
  }
  bool skip = layer.wrap == LayerWrap::Skip;
  present = map({{r, OperandKind::elem}}, rows(i32, 1), [&](ValueRange v) {
    Value p = functions.apply(builder, loc, "sigmoid", v[0]);
    Value above = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, p, number(layer.threshold));
    return select(above, integer(skip ? 0 : 1), integer(skip ? 1 : 0));
  });
}

// [T,H] f32: the dense block of the tokens that are not present, 0 elsewhere. They are a route of one group.
Value LayerBuilder::buildDense() {
  const DenseSpec &dense = *spec.layer.dense;
  Value ids = map({{present, OperandKind::elem}}, rows(builder.getI32Type(), 1),
                  [&](ValueRange v) { return select(equal(v[0], 0), integer(0), integer(-1)); });
  Value route = moe::DispatchOp::create(builder, loc, moe::RouteType::get(builder.getContext(), 1, 1), ids);
  MlpShape shape;
  shape.prefix = "dense";
  shape.form = dense.form;
  shape.activation = dense.actName;
  shape.width = dense.form == ExpertForm::Linear ? spec.hidden : dense.intermediate;
  shape.outputs = spec.hidden;
  Value input = moe::GatherOp::create(builder, loc, x.getType(), x, route);
  return moe::CombineOp::create(builder, loc, rows(builder.getF32Type(), spec.hidden), expertRows(input, route, shape),
                                route, Value(), ValueRange(), builder.getArrayAttr({}));
}

namespace {
// Operands of the last map; places of those that are not there are never read.
struct Operands {
  SmallVector<Bound> all;
  size_t add(Value value, OperandKind kind) {
    if (value)
      all.push_back({value, kind});
    return all.size() - 1;
  }
};
} // namespace

//   v = combined + passed·x + constants + bias,   v = own·v + factor·shared
//   depth        y = [x +] r·v where present, [x] elsewhere      [ ] with residual
//   skip         y = [x +] v where present, x elsewhere
//   conditional  y = [x +] v where present, [x +] dense elsewhere
Value LayerBuilder::finish(Value combined, const RouterValues &router, const std::optional<SharedValues> &shared) {
  const WrapSpec &layer = spec.layer;
  bool wrapped = layer.wrap != LayerWrap::None, residual = layer.residual || layer.wrap == LayerWrap::Skip;
  Operands operands;
  operands.add(combined, OperandKind::elem);
  size_t passed = operands.add(router.passed, OperandKind::row);
  size_t own = operands.add(router.passed || residual ? x : Value(), OperandKind::elem);
  size_t added = operands.add(router.added, OperandKind::elem);
  size_t bias = operands.add(spec.combine.bias ? parameter("output.bias") : Value(), OperandKind::col);
  size_t output = operands.add(shared ? shared->output : Value(), OperandKind::elem);
  size_t factor = operands.add(shared ? shared->factor : Value(), OperandKind::row);
  size_t share = operands.add(shared ? shared->own : Value(), OperandKind::row);
  Value there;
  if (wrapped)
    there = sumRows(map({{present, OperandKind::elem}}, rows(builder.getF32Type(), 1),
                        [&](ValueRange v) { return select(equal(v[0], 0), number(0), number(1)); }));
  size_t routed = operands.add(there, OperandKind::row);
  size_t depth = operands.add(wrapFactor, OperandKind::row);
  size_t dense = operands.add(layer.wrap == LayerWrap::Conditional ? buildDense() : Value(), OperandKind::elem);
  Type type = typeOf(spec.dtype.output);
  if (operands.all.size() == 1 && type.isF32())
    return combined;
  return map(operands.all, rows(type, spec.hidden), [&](ValueRange v) {
    Value sum = v[0];
    if (router.passed) {
      // x may be infinite where nothing passes
      Value none = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, v[passed], number(0));
      sum = add(sum, select(none, number(0), multiply(v[passed], toF32(v[own]))));
    }
    if (router.added)
      sum = add(sum, v[added]);
    if (spec.combine.bias)
      sum = add(sum, v[bias]);
    if (shared && shared->own)
      sum = multiply(sum, v[share]);
    if (shared)
      sum = add(sum, shared->factor ? multiply(v[output], v[factor]) : v[output]);
    if (!wrapped)
      return fromF32(residual ? add(sum, toF32(v[own])) : sum, type);
    Value inside = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, v[routed], number(0));
    if (layer.wrap == LayerWrap::Depth)
      sum = multiply(sum, v[depth]);
    if (layer.wrap == LayerWrap::Skip) {
      Value x = toF32(v[own]);
      return fromF32(select(inside, layer.residual ? add(sum, x) : sum, x), type);
    }
    sum = select(inside, sum, layer.wrap == LayerWrap::Conditional ? v[dense] : number(0));
    return fromF32(residual ? add(sum, toF32(v[own])) : sum, type);
  });
}

} // namespace moec
