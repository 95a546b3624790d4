// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// experts, shared and combine blocks of a spec -> gather, grouped matmuls, maps and combine.

#include "codegen/moe/LayerBuilder.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value LayerBuilder::activated(Value value, const MlpShape &shape) {
  if (shape.actAlpha == 1)
    return functions.apply(builder, loc, shape.activation, value);
  return multiply(value, functions.apply(builder, loc, "sigmoid", scaled(value, shape.actAlpha)));
}

// h = act(min(g, L)) · (clamp(u, -L, L) + offset),   g = in·Gᵀ + b, u = in·Uᵀ + b;   post_act: min(act(g), L)
Value LayerBuilder::gluHidden(Value input, Value route, const MlpShape &shape) {
  Value gate = matmul(input, parameter(shape.prefix + ".gate"), route);
  Value up = matmul(input, parameter(shape.prefix + ".up"), route);
  SmallVector<Bound> operands = {{gate, OperandKind::elem}, {up, OperandKind::elem}};
  if (shape.bias.in) {
    operands.push_back({parameter(shape.gateBias), OperandKind::col});
    operands.push_back({parameter(shape.prefix + ".up_bias"), OperandKind::col});
  }
  Type type = typeOf(spec.dtype.activation);
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value g = shape.bias.in ? add(v[0], v[2]) : v[0], u = shape.bias.in ? add(v[1], v[3]) : v[1];
    bool before = shape.clamp && shape.clamp->at == ClampAt::PreAct;
    g = activated(before ? atMost(g, shape.clamp->limit) : g, shape);
    if (shape.clamp && !before)
      g = atMost(g, shape.clamp->limit);
    if (shape.clamp)
      u = atLeast(atMost(u, shape.clamp->limit), -shape.clamp->limit);
    if (shape.upOffset != 0)
      u = add(u, number(shape.upOffset));
    return fromF32(scaled(multiply(g, u), shape.hiddenScale), type);
  });
}

// h = factor · act(in·Wᵀ + b)
Value LayerBuilder::mlpHidden(Value input, Value route, const MlpShape &shape, const std::string &role, double factor) {
  SmallVector<Bound> operands = {{matmul(input, parameter(role), route), OperandKind::elem}};
  if (shape.bias.in)
    operands.push_back({parameter(role + "_bias"), OperandKind::col});
  Type type = typeOf(spec.dtype.activation);
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value value = shape.bias.in ? add(v[0], v[1]) : v[0];
    return fromF32(scaled(activated(value, shape), factor), type);
  });
}

// o = h·Dᵀ + b, times the output scale; f32 rows
Value LayerBuilder::expertRows(Value input, Value route, const MlpShape &shape) {
  bool linear = shape.form == ExpertForm::Linear;
  Value hidden = input;
  if (shape.form == ExpertForm::Glu)
    hidden = gluHidden(input, route, shape);
  if (shape.form == ExpertForm::Mlp) {
    // Dropout stands before the last matrix only.
    auto factor = [&](int64_t n) { return n + 1 == shape.layers ? shape.hiddenScale : 1.0; };
    hidden = mlpHidden(input, route, shape, shape.prefix + ".up", factor(0));
    for (int64_t n = 1; n < shape.layers; ++n)
      hidden = mlpHidden(hidden, route, shape, shape.prefix + ".hidden" + std::to_string(n), factor(n));
  }
  Value output = matmul(hidden, parameter(shape.prefix + (linear ? ".up" : ".down")), route);
  SmallVector<Bound> operands = {{output, OperandKind::elem}};
  if (linear ? shape.bias.in : shape.bias.out)
    operands.push_back({parameter(shape.prefix + (linear ? ".up_bias" : ".down_bias")), OperandKind::col});
  if (operands.size() == 1 && shape.outputScale == 1)
    return output;
  return map(operands, rows(builder.getF32Type(), shape.outputs),
             [&](ValueRange v) { return scaled(v.size() > 1 ? add(v[0], v[1]) : v[0], shape.outputScale); });
}

// (o + (in·Aᵀ)·Bᵀ·alpha/rank) times the output scale
Value LayerBuilder::lora(Value input, Value output, Value route) {
  if (!spec.experts.lora)
    return output;
  Type type = typeOf(spec.dtype.activation);
  double factor = spec.experts.lora->alpha / double(spec.experts.lora->rank);
  Value low = map({{matmul(input, parameter("experts.lora_a"), route), OperandKind::elem}},
                  rows(type, spec.experts.lora->rank), [&](ValueRange v) { return fromF32(v[0], type); });
  Value high = matmul(low, parameter("experts.lora_b"), route);
  return map({{high, OperandKind::elem}, {output, OperandKind::elem}}, cast<RankedTensorType>(output.getType()),
             [&](ValueRange v) { return scaled(add(v[1], scaled(v[0], factor)), outputScale()); });
}

// output_scale, and 1 - p of a dropout that scales at inference.
double LayerBuilder::outputScale() const {
  const DropoutSpec &dropout = spec.experts.outputDropout;
  return spec.experts.outputScale * (dropout.scaleAtEval ? 1 - dropout.p : 1.0);
}

MlpShape LayerBuilder::expertShape() const {
  const ExpertsSpec &experts = spec.experts;
  MlpShape shape;
  shape.prefix = "experts";
  shape.gateBias = "experts.gate_bias";
  shape.form = experts.form;
  shape.activation = experts.actName;
  shape.outputs = experts.latent ? experts.latent->dim : spec.hidden;
  shape.width = experts.form == ExpertForm::Linear ? shape.outputs : experts.intermediate[0];
  shape.layers = experts.layers;
  shape.bias = experts.bias;
  shape.actAlpha = experts.actAlpha;
  shape.upOffset = experts.upOffset;
  shape.clamp = experts.clamp;
  shape.hiddenScale = experts.hiddenDropout.scaleAtEval ? 1 - experts.hiddenDropout.p : 1.0;
  shape.outputScale = experts.lora ? 1.0 : outputScale(); // with lora it follows the sum
  return shape;
}

// x·Lᵀ + b in the activation type, which the experts read instead of x
Value LayerBuilder::latentIn() {
  const LatentSpec &latent = *spec.experts.latent;
  Type type = typeOf(spec.dtype.activation);
  SmallVector<Bound> operands = {{matmul(x, parameter("latent.in"), Value()), OperandKind::elem}};
  if (latent.bias)
    operands.push_back({parameter("latent.in_bias"), OperandKind::col});
  return map(operands, rows(type, latent.dim),
             [&](ValueRange v) { return fromF32(v.size() > 1 ? add(v[0], v[1]) : v[0], type); });
}

Value LayerBuilder::latentOut(Value combined) {
  Type type = typeOf(spec.dtype.activation);
  Value rounded = type.isF32() ? combined
                               : map({{combined, OperandKind::elem}}, rows(type, spec.experts.latent->dim),
                                     [&](ValueRange v) { return fromF32(v[0], type); });
  Value wide = matmul(rounded, parameter("latent.out"), Value());
  if (!spec.experts.latent->bias)
    return wide;
  return map({{wide, OperandKind::elem}, {parameter("latent.out_bias"), OperandKind::col}},
             cast<RankedTensorType>(wide.getType()), [&](ValueRange v) { return add(v[0], v[1]); });
}

// Σ_j w_j · expert_{id_j}(x), or Σ_j expert_{id_j}(w_j · x) where the weight is applied to the input; f32
Value LayerBuilder::buildExperts(const RouterValues &router) {
  MlpShape shape = expertShape();
  Type f32 = builder.getF32Type();
  auto routeType = moe::RouteType::get(builder.getContext(), spec.experts.count, spec.choices());
  Value route = moe::DispatchOp::create(builder, loc, routeType, router.ids);
  Value tokens = spec.experts.latent ? latentIn() : x;
  auto tokenType = cast<RankedTensorType>(tokens.getType());
  Value input = moe::GatherOp::create(builder, loc, tokenType, tokens, route);
  bool weightsInput = spec.combine.apply == CombineApply::Input;
  if (weightsInput) {
    Value weight = moe::GatherOp::create(builder, loc, rowVector(f32), router.weights, route);
    input = map({{input, OperandKind::elem}, {weight, OperandKind::row}}, tokenType,
                [&](ValueRange v) { return fromF32(multiply(toF32(v[0]), v[1]), tokenType.getElementType()); });
  }
  Value output = lora(input, expertRows(input, route, shape), route);
  Value combined =
      moe::CombineOp::create(builder, loc, rows(f32, shape.outputs), output, route,
                             weightsInput ? Value() : router.weights, ValueRange(), builder.getArrayAttr({}));
  return spec.experts.latent ? latentOut(combined) : combined;
}

// Several blocks are groups that every token visits: ids 0..count-1, which is what top_k gives of equal values.
Value LayerBuilder::sharedBlocks(const MlpShape &shape) {
  const SharedSpec &shared = *spec.shared;
  if (shared.count == 1)
    return expertRows(x, Value(), shape);
  Type f32 = builder.getF32Type();
  Value equal = map({}, rows(f32, shared.count), [&](ValueRange) { return number(0); });
  Value ids = moe::TopKOp::create(builder, loc, rows(builder.getI32Type(), shared.count), equal,
                                  builder.getI64IntegerAttr(shared.count), IntegerAttr());
  auto routeType = moe::RouteType::get(builder.getContext(), shared.count, shared.count);
  Value route = moe::DispatchOp::create(builder, loc, routeType, ids);
  Value input = moe::GatherOp::create(builder, loc, x.getType(), x, route);
  return moe::CombineOp::create(builder, loc, rows(f32, spec.hidden), expertRows(input, route, shape), route, Value(),
                                ValueRange(), builder.getArrayAttr({}));
}

// [T] σ(x·gᵀ)
Value LayerBuilder::sharedGate() {
  Value z = matmul(x, parameter("shared.gate_weight"), Value());
  return map({{sumRows(z), OperandKind::elem}}, rowVector(builder.getF32Type()),
             [&](ValueRange v) { return functions.apply(builder, loc, "sigmoid", v[0]); });
}

// [T,H] f32: scale · gate · (Σ or mean over blocks)
Value LayerBuilder::buildShared() {
  const SharedSpec &shared = *spec.shared;
  MlpShape shape;
  shape.prefix = "shared";
  shape.gateBias = "shared.gate_in_bias";
  shape.form = shared.form;
  shape.activation = shared.actName;
  shape.width = shared.form == ExpertForm::Linear ? spec.hidden : shared.intermediate;
  shape.outputs = spec.hidden;
  shape.bias = shared.bias;
  Value output = sharedBlocks(shape);
  double factor = shared.scale / (shared.reduce == SharedReduce::Mean ? double(shared.count) : 1.0);
  bool gated = shared.gate == SharedGate::Sigmoid;
  if (!gated && factor == 1)
    return output;
  SmallVector<Bound> operands = {{output, OperandKind::elem}};
  if (gated)
    operands.push_back({sharedGate(), OperandKind::row});
  return map(operands, cast<RankedTensorType>(output.getType()), [&](ValueRange v) {
    Value value = scaled(v[0], factor);
    return gated ? multiply(value, v[1]) : value;
  });
}

} // namespace moec
