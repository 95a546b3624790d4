// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildWrap.h"

#include "codegen/build/BuildMlp.h"
#include "codegen/build/BuildNorm.h"
#include "codegen/build/Routes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// ---- presence ---------------------------------------------------------------------------------------------------

static std::string roleOf(LayerWrap wrap) {
  switch (wrap) {
  case LayerWrap::Depth:
    return "depth";
  case LayerWrap::Skip:
    return "skip";
  case LayerWrap::Conditional:
    return "selector";
  case LayerWrap::None:
    break;
  }
  llvm_unreachable("a layer without a wrap has no such role");
}

// ⟨x, w⟩, with a bias except for depth
Value WrapBuilder::logit() {
  std::string role = roleOf(spec.layer.wrap);
  Value z = matmul(layer.x, layer.parameter(role + ".weight"), Value());
  if (spec.layer.wrap == LayerWrap::Depth)
    return z;
  return map({{z, OperandKind::elem}, {layer.parameter(role + ".bias"), OperandKind::col}}, typeOf(z),
             [&](ValueRange v) { return add(v[0], v[1]); });
}

// depth: the C largest r of each scope. skip: σ(r) <= threshold. conditional: σ(r) > threshold.
WrapValues WrapBuilder::presence() {
  const WrapSpec &wrap = spec.layer;
  WrapValues out;
  if (wrap.wrap == LayerWrap::None)
    return out;
  Value r = logit();
  if (wrap.wrap == LayerWrap::Depth) {
    out.factor = sumRows(r);
    Places places;
    places.scope = scopeOf(wrap.scope);
    if (wrap.tokens) {
      places.value = double(*wrap.tokens);
    } else {
      places.mode = moe::PlacesMode::share;
      places.value = *wrap.capacity;
      places.least = 1;
    }
    out.present = topTokens(r, Value(), places);
    return out;
  }
  bool skip = wrap.wrap == LayerWrap::Skip;
  out.present = map({{r, OperandKind::elem}}, rows(i32(), 1), [&](ValueRange v) {
    Value p = apply("sigmoid", "layer.wrap", v[0]);
    Value above = isGreater(p, number(wrap.threshold));
    return select(above, integer(skip ? 0 : 1), integer(skip ? 1 : 0));
  });
  return out;
}

// ---- the dense block --------------------------------------------------------------------------------------------

// The dense block of the tokens that are not present, 0 elsewhere. They are a route of one group.
Value WrapBuilder::dense(Value present) {
  const DenseSpec &dense = *spec.layer.dense;
  Value ids = map({{present, OperandKind::elem}}, rows(i32(), 1),
                  [&](ValueRange v) { return select(equal(v[0], 0), integer(0), integer(-1)); });
  Value route = moe::DispatchOp::create(builder, loc, moe::RouteType::get(builder.getContext(), 1, 1), ids);
  MlpShape shape;
  shape.prefix = "dense";
  shape.block.form = dense.form;
  shape.block.act = dense.act;
  shape.block.actName = dense.actName;
  shape.activationKey = "layer.dense.act";
  shape.width = dense.form == ExpertForm::Linear ? spec.hidden : dense.intermediate;
  shape.outputs = spec.hidden;
  MlpBuilder mlp(*this, elementOf(spec.dtype.activation), layer);
  return combine(mlp.outputs(gather(layer.x, route), route, shape), route, Value());
}

// ---- y ----------------------------------------------------------------------------------------------------------

namespace {
// Operands of a map; a layer may lack some of them.
struct SomeOperands {
  SmallVector<Bound> all;

  // The operand's place; none for a null value.
  std::optional<size_t> add(Value value, OperandKind kind) {
    if (!value)
      return std::nullopt;
    all.push_back({value, kind});
    return all.size() - 1;
  }
};
} // namespace

//   v = combined + passed·x + constants + bias,   v = own·v + factor·shared
//   depth        y = [x +] r·v where present, [x] elsewhere      [ ] with residual
//   skip         y = [x +] v where present, x elsewhere
//   conditional  y = [x +] v where present, [x +] dense elsewhere
// Null `wrap`: v.
Value WrapBuilder::mixed(const Summands &parts, const WrapValues *wrap, Type type) {
  LayerWrap kind = wrap ? spec.layer.wrap : LayerWrap::None;
  bool adds = wrap && spec.layer.residual; // x to what the experts give
  bool readsX = parts.passed || adds || kind == LayerWrap::Skip;
  const std::optional<SharedValues> &shared = parts.shared;
  SomeOperands operands;
  operands.add(parts.combined, OperandKind::elem);
  auto passed = operands.add(parts.passed, OperandKind::row);
  auto x = operands.add(readsX ? layer.x : Value(), OperandKind::elem);
  auto added = operands.add(parts.added, OperandKind::elem);
  auto bias = operands.add(parts.bias, OperandKind::col);
  auto output = operands.add(shared ? shared->output : Value(), OperandKind::elem);
  auto factor = operands.add(shared ? shared->factor : Value(), OperandKind::row);
  auto own = operands.add(shared ? shared->own : Value(), OperandKind::row);
  Value present;
  if (wrap && wrap->present)
    present = sumRows(map({{wrap->present, OperandKind::elem}}, rows(f32(), 1),
                          [&](ValueRange v) { return select(equal(v[0], 0), number(0), number(1)); }));
  auto there = operands.add(present, OperandKind::row);
  auto depth = operands.add(wrap ? wrap->factor : Value(), OperandKind::row);
  auto other = operands.add(kind == LayerWrap::Conditional ? dense(wrap->present) : Value(), OperandKind::elem);
  if (operands.all.size() == 1 && type.isF32())
    return parts.combined;
  return map(operands.all, rows(type, spec.hidden), [&](ValueRange v) {
    Value sum = v[0];
    if (passed) {
      // x may be infinite where nothing passes
      Value none = isZero(v[*passed]);
      sum = add(sum, select(none, number(0), multiply(v[*passed], toF32(v[*x]))));
    }
    if (added)
      sum = add(sum, v[*added]);
    if (bias)
      sum = add(sum, v[*bias]);
    if (own)
      sum = multiply(sum, v[*own]);
    if (output) {
      Value wide = toF32(v[*output]);
      sum = add(sum, factor ? multiply(wide, v[*factor]) : wide);
    }
    if (!there)
      return fromF32(adds ? add(sum, toF32(v[*x])) : sum, type);
    Value inside = isGreater(v[*there], number(0));
    if (depth)
      sum = multiply(sum, v[*depth]);
    if (kind == LayerWrap::Skip) {
      Value wide = toF32(v[*x]);
      return fromF32(select(inside, adds ? add(sum, wide) : sum, wide), type);
    }
    sum = select(inside, sum, other ? v[*other] : number(0));
    return fromF32(adds ? add(sum, toF32(v[*x])) : sum, type);
  });
}

// With combine.norm_out v is normalised before the wrap.
Value WrapBuilder::output(const WrapValues &wrap, Value combined, const RouterValues &router,
                          const std::optional<SharedValues> &shared) {
  Summands parts = {combined, router.passed, router.added, Value(), shared};
  if (spec.combine.bias)
    parts.bias = layer.parameter("output.bias");
  Type type = elementOf(spec.dtype.output);
  if (!spec.combine.normOut)
    return mixed(parts, &wrap, type);
  bool last = spec.layer.wrap == LayerWrap::None;
  Value v = NormBuilder(*this).normalized(mixed(parts, nullptr, f32()), *spec.combine.normOut, last ? type : f32(),
                                          layer, "output.norm");
  return last ? v : mixed({v, Value(), Value(), Value(), std::nullopt}, &wrap, type);
}

} // namespace moec
