// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildExperts.h"

#include "codegen/build/BuildClasses.h"
#include "codegen/build/Routes.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

ExpertsValues ExpertsBuilder::build(const RouterValues &router) {
  Value tokens = spec.experts.latent ? latentIn() : layer.x;
  ExpertsValues out;
  if (spec.experts.heterogeneous()) {
    out = classOutputs(router, tokens);
  } else {
    int64_t width = spec.experts.intermediate.empty() ? 0 : spec.experts.intermediate[0];
    out = setOutputs({"experts", spec.experts.count, width}, router, tokens);
  }
  if (spec.experts.latent)
    out.combined = latentOut(out.combined, router);
  return out;
}

ExpertsValues ExpertsBuilder::setOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  return router.route ? slotOutputs(experts, router, tokens) : routedOutputs(experts, router, tokens);
}

// Σ_c of the classes' outputs: the choices of a class in ascending order, class after class
ExpertsValues ExpertsBuilder::classOutputs(const RouterValues &router, Value tokens) {
  ClassesBuilder classes(*this, spec, router);
  ExpertsValues all;
  for (auto [c, members] : llvm::enumerate(classes.classes())) {
    ExpertSet experts{classRole("experts", c), int64_t(members.experts.size()), members.width};
    ExpertsValues own = setOutputs(experts, classes.routerOf(c), tokens);
    all.routed.append(own.routed);
    if (all.combined)
      all.combined = map({{own.combined, OperandKind::elem}, {all.combined, OperandKind::elem}}, typeOf(own.combined),
                         [&](ValueRange v) { return add(v[1], v[0]); });
    else
      all.combined = own.combined;
  }
  return all;
}

// Σ_j w_j · expert_{id_j}(x), or Σ_j expert_{id_j}(w_j · x) where the weight is applied to the input; f32
ExpertsValues ExpertsBuilder::routedOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  auto dispatch =
      moe::DispatchOp::create(builder, loc, expertRoute(builder.getContext(), spec, experts.count), router.kept);
  if (!spec.experts.heterogeneous())
    dispatch->setAttr("moe.experts", builder.getUnitAttr());
  Value route = dispatch;
  Value input = gather(tokens, route);
  bool weightsInput = spec.combine.apply == CombineApply::Input;
  if (weightsInput) {
    Value weight = gatherChoices(router.weights, route);
    Type element = typeOf(tokens).getElementType();
    input = map({{input, OperandKind::elem}, {weight, OperandKind::row}}, typeOf(tokens),
                [&](ValueRange v) { return fromF32(multiply(toF32(v[0]), v[1]), element); });
  }
  ExpertsValues out;
  Value rows = outputs(experts, input, route, router.kept);
  out.combined = combine(rows, route, weightsInput ? Value() : router.weights);
  out.routed.push_back({rows, route});
  return out;
}

//   slot_s = Σ_t D[t,s]·x_t   o_s = expert_{s/P}(slot_s)   y_t = Σ_s C[t,s]·o_s
// A latent projection before the slots is one after them, because every column of D sums to 1.
ExpertsValues ExpertsBuilder::slotOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  Value input = moe::SlotInputsOp::create(builder, loc, tokens.getType(), tokens, router.slotWeights, router.route);
  ExpertsValues out;
  out.combined = combine(outputs(experts, input, router.route, Value()), router.route, router.weights);
  return out;
}

// ---- rows of a route --------------------------------------------------------------------------------------------

// o of every row, with all that follows the last matrix
Value ExpertsBuilder::outputs(const ExpertSet &experts, Value input, Value route, Value kept) {
  MlpShape shape = shapeOf(experts);
  Value output = mlp.outputs(input, route, shape);
  bool parallel = spec.experts.lora && spec.experts.lora->at == LoraAt::Parallel;
  if (parallel)
    output = mlp.withLora(output, input, route, experts.prefix + ".", *spec.experts.lora);
  if (spec.experts.normOut)
    output = layerNorm(experts, output, route, kept);
  if (parallel || spec.experts.normOut)
    output = scaledRows(output, outputScale());
  return spec.combine.rowsF32 ? output : rounded(output, elementOf(spec.dtype.activation));
}

MlpShape ExpertsBuilder::shapeOf(const ExpertSet &set) const {
  const ExpertsSpec &experts = spec.experts;
  MlpShape shape;
  shape.prefix = set.prefix;
  shape.gateBias = set.prefix + ".gate_bias";
  shape.form = experts.form;
  shape.activation = experts.actName;
  shape.activationKey = "experts.act";
  shape.outputs = experts.latent ? experts.latent->dim : spec.hidden;
  shape.width = experts.form == ExpertForm::Linear ? shape.outputs : set.width;
  shape.layers = experts.layers;
  shape.bias = experts.bias;
  shape.actAlpha = experts.actAlpha;
  shape.upOffset = experts.upOffset;
  shape.clamp = experts.clamp;
  shape.hiddenScale = experts.hiddenDropout.scaleAtEval ? 1 - experts.hiddenDropout.p : 1.0;
  bool parallel = experts.lora && experts.lora->at == LoraAt::Parallel;
  shape.outputScale = parallel || experts.normOut ? 1.0 : outputScale(); // otherwise the factor comes after them
  if (experts.lora && !parallel)
    shape.matrixLora = experts.lora;
  return shape;
}

// output_scale, and 1 - p of a dropout that scales at inference.
double ExpertsBuilder::outputScale() const {
  const DropoutSpec &dropout = spec.experts.outputDropout;
  return spec.experts.outputScale * (dropout.scaleAtEval ? 1 - dropout.p : 1.0);
}

// (o - mean) / sqrt(var + 1e-5) · weight[e] + bias[e], over the columns of a row of expert e; population variance.
Value ExpertsBuilder::layerNorm(const ExpertSet &experts, Value output, Value route, Value kept) {
  double width = double(columnsOf(output));
  RankedTensorType type = typeOf(output);
  Value groups = kept; // the group of every choice; slot s belongs to expert s / P
  if (!groups) {
    auto slots = cast<moe::RouteType>(route.getType());
    groups = map({{columns(slots.getChoices()), OperandKind::elem}}, rows(i32(), slots.getChoices()),
                 [&](ValueRange v) { return quotient(v[0], int32_t(slots.getChoices() / slots.getGroups())); });
  }
  Value group = gatherChoices(groups, route);
  auto own = [&](const char *role) -> Value {
    return moe::LookupOp::create(builder, loc, type, layer.parameter(experts.prefix + role), group);
  };
  Value centred = map({{output, OperandKind::elem}, {sumRows(output), OperandKind::row}}, type,
                      [&](ValueRange v) { return subtract(v[0], divide(v[1], number(width))); });
  Value squares =
      sumRows(map({{centred, OperandKind::elem}}, type, [&](ValueRange v) { return multiply(v[0], v[0]); }));
  return map({{centred, OperandKind::elem},
              {squares, OperandKind::row},
              {own(".norm_weight"), OperandKind::elem},
              {own(".norm_bias"), OperandKind::elem}},
             type, [&](ValueRange v) {
               Value variance = add(divide(v[1], number(width)), number(1e-5));
               Value unit = divide(v[0], squareRoot(variance));
               return add(multiply(unit, v[2]), v[3]);
             });
}

// ---- latent projections -----------------------------------------------------------------------------------------

// x·Lᵀ + b in the activation type, which the experts read instead of x
Value ExpertsBuilder::latentIn() {
  const LatentSpec &latent = *spec.experts.latent;
  Type type = elementOf(spec.dtype.activation);
  SmallVector<Bound> operands = {{matmul(layer.x, layer.parameter("latent.in"), Value()), OperandKind::elem}};
  if (latent.bias)
    operands.push_back({layer.parameter("latent.in_bias"), OperandKind::col});
  return map(operands, rows(type, latent.dim),
             [&](ValueRange v) { return fromF32(latent.bias ? add(v[0], v[1]) : v[0], type); });
}

// The weights of soft routing do not add up to 1, so they also weight the bias.
Value ExpertsBuilder::latentOut(Value combined, const RouterValues &router) {
  const LatentSpec &latent = *spec.experts.latent;
  Value biasFactor;
  if (latent.bias && router.route)
    biasFactor = sumRows(router.weights);
  Value narrow = rounded(combined, elementOf(spec.dtype.activation));
  Value wide = matmul(narrow, layer.parameter("latent.out"), Value());
  if (!latent.bias)
    return wide;
  SmallVector<Bound> operands = {{wide, OperandKind::elem}, {layer.parameter("latent.out_bias"), OperandKind::col}};
  if (biasFactor)
    operands.push_back({biasFactor, OperandKind::row});
  return map(operands, typeOf(wide), [&](ValueRange v) { return add(v[0], biasFactor ? multiply(v[1], v[2]) : v[1]); });
}

} // namespace moec
