// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// experts, shared and combine blocks of a spec -> gather, grouped matmuls, maps and combine.

#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

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
  Value gate = projected(input, shape.prefix + ".gate", route, shape);
  Value up = projected(input, shape.prefix + ".up", route, shape);
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

// in·Wᵀ, with lora per matrix + alpha/rank · (in·Aᵀ)·Bᵀ
Value LayerBuilder::projected(Value input, const std::string &role, Value route, const MlpShape &shape) {
  Value product = matmul(input, parameter(role), route);
  if (!shape.matrixLora)
    return product;
  Type type = typeOf(spec.dtype.activation);
  Value low = map({{matmul(input, parameter(role + "_lora_a"), route), OperandKind::elem}},
                  rows(type, shape.matrixLora->rank), [&](ValueRange v) { return fromF32(v[0], type); });
  Value high = matmul(low, parameter(role + "_lora_b"), route);
  double factor = shape.matrixLora->alpha / double(shape.matrixLora->rank);
  return map({{high, OperandKind::elem}, {product, OperandKind::elem}}, cast<RankedTensorType>(product.getType()),
             [&](ValueRange v) { return add(v[1], scaled(v[0], factor)); });
}

// h = factor · act(in·Wᵀ + b), within ±L before or after the activation where there is a clamp
Value LayerBuilder::mlpHidden(Value input, Value route, const MlpShape &shape, const std::string &role, double factor) {
  SmallVector<Bound> operands = {{projected(input, role, route, shape), OperandKind::elem}};
  auto clamped = [&](Value value, ClampAt at) {
    if (!shape.clamp || shape.clamp->at != at)
      return value;
    return atLeast(atMost(value, shape.clamp->limit), -shape.clamp->limit);
  };
  if (shape.bias.in)
    operands.push_back({parameter(role + "_bias"), OperandKind::col});
  Type type = typeOf(spec.dtype.activation);
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value value = shape.bias.in ? add(v[0], v[1]) : v[0];
    value = clamped(activated(clamped(value, ClampAt::PreAct), shape), ClampAt::PostAct);
    return fromF32(scaled(value, factor), type);
  });
}

// o = h·Dᵀ + b, times the output scale; f32 rows
Value LayerBuilder::expertRows(Value input, Value route, const MlpShape &shape) {
  bool linear = shape.form == ExpertForm::Linear;
  Value hidden = input;
  if (shape.form == ExpertForm::Glu)
    hidden = gluHidden(input, route, shape);
  if (shape.form == ExpertForm::Mlp) {
    // Dropout applies only before the last matrix.
    auto factor = [&](int64_t n) { return n + 1 == shape.layers ? shape.hiddenScale : 1.0; };
    hidden = mlpHidden(input, route, shape, shape.prefix + ".up", factor(0));
    for (int64_t n = 1; n < shape.layers; ++n)
      hidden = mlpHidden(hidden, route, shape, shape.prefix + ".hidden" + std::to_string(n), factor(n));
  }
  Value output = projected(hidden, shape.prefix + (linear ? ".up" : ".down"), route, shape);
  SmallVector<Bound> operands = {{output, OperandKind::elem}};
  if (linear ? shape.bias.in : shape.bias.out)
    operands.push_back({parameter(shape.prefix + (linear ? ".up_bias" : ".down_bias")), OperandKind::col});
  if (operands.size() == 1 && shape.outputScale == 1)
    return output;
  return map(operands, rows(builder.getF32Type(), shape.outputs),
             [&](ValueRange v) { return scaled(v.size() > 1 ? add(v[0], v[1]) : v[0], shape.outputScale); });
}

// o + (in·Aᵀ)·Bᵀ·alpha/rank
Value LayerBuilder::lora(Value input, Value output, Value route, int64_t width) {
  Type type = typeOf(spec.dtype.activation);
  double factor = spec.experts.lora->alpha / double(spec.experts.lora->rank);
  Value low = map({{matmul(input, parameter(expertPrefix + ".lora_a"), route), OperandKind::elem}},
                  rows(type, spec.experts.lora->rank), [&](ValueRange v) { return fromF32(v[0], type); });
  Value high = matmul(low, parameter(expertPrefix + ".lora_b"), route);
  return map({{high, OperandKind::elem}, {output, OperandKind::elem}}, rows(builder.getF32Type(), width),
             [&](ValueRange v) { return add(v[1], scaled(v[0], factor)); });
}

Value LayerBuilder::scaledOutput(Value output, double factor) {
  if (factor == 1)
    return output;
  return map({{output, OperandKind::elem}}, cast<RankedTensorType>(output.getType()),
             [&](ValueRange v) { return scaled(v[0], factor); });
}

// (o - mean) / sqrt(var + 1e-5) · weight[e] + bias[e], over the columns of a row of expert e; population variance.
Value LayerBuilder::layerNorm(Value output, const RouterValues &router, Value route, int64_t width) {
  Type f32 = builder.getF32Type();
  RankedTensorType type = rows(f32, width);
  Value groups = router.kept; // the group of every choice; slot s belongs to expert s / P
  if (!groups) {
    auto slots = cast<moe::RouteType>(route.getType());
    groups = map({{columns(slots.getChoices()), OperandKind::elem}}, rows(builder.getI32Type(), slots.getChoices()),
                 [&](ValueRange v) { return quotient(v[0], int32_t(slots.getChoices() / slots.getGroups())); });
  }
  Value group = moe::GatherOp::create(builder, loc, rowVector(builder.getI32Type()), groups, route);
  auto own = [&](const char *role) {
    return moe::LookupOp::create(builder, loc, type, parameter(expertPrefix + role), group).getResult();
  };
  Value count = sumRows(output);
  Value centred = map({{output, OperandKind::elem}, {count, OperandKind::row}}, type, [&](ValueRange v) -> Value {
    return arith::SubFOp::create(builder, loc, v[0], divide(v[1], number(double(width))));
  });
  Value squares =
      sumRows(map({{centred, OperandKind::elem}}, type, [&](ValueRange v) { return multiply(v[0], v[0]); }));
  return map({{centred, OperandKind::elem},
              {squares, OperandKind::row},
              {own(".norm_weight"), OperandKind::elem},
              {own(".norm_bias"), OperandKind::elem}},
             type, [&](ValueRange v) {
               Value variance = add(divide(v[1], number(double(width))), number(1e-5));
               Value unit = divide(v[0], math::SqrtOp::create(builder, loc, variance));
               return add(multiply(unit, v[2]), v[3]);
             });
}

// output_scale, and 1 - p of a dropout that scales at inference.
double LayerBuilder::outputScale() const {
  const DropoutSpec &dropout = spec.experts.outputDropout;
  return spec.experts.outputScale * (dropout.scaleAtEval ? 1 - dropout.p : 1.0);
}

MlpShape LayerBuilder::expertShape() const {
  const ExpertsSpec &experts = spec.experts;
  MlpShape shape;
  shape.prefix = expertPrefix;
  shape.gateBias = expertPrefix + ".gate_bias";
  shape.form = experts.form;
  shape.activation = experts.actName;
  shape.outputs = experts.latent ? experts.latent->dim : spec.hidden;
  shape.width = experts.form == ExpertForm::Linear ? shape.outputs : expertWidth;
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

Value LayerBuilder::latentOut(Value combined, Value biasFactor) {
  Type type = typeOf(spec.dtype.activation);
  Value rounded = type.isF32() ? combined
                               : map({{combined, OperandKind::elem}}, rows(type, spec.experts.latent->dim),
                                     [&](ValueRange v) { return fromF32(v[0], type); });
  Value wide = matmul(rounded, parameter("latent.out"), Value());
  if (!spec.experts.latent->bias)
    return wide;
  SmallVector<Bound> operands = {{wide, OperandKind::elem}, {parameter("latent.out_bias"), OperandKind::col}};
  if (biasFactor)
    operands.push_back({biasFactor, OperandKind::row});
  return map(operands, cast<RankedTensorType>(wide.getType()),
             [&](ValueRange v) { return add(v[0], v.size() > 2 ? multiply(v[1], v[2]) : v[1]); });
}

// o of every row, whatever follows the last matrix included
Value LayerBuilder::expertOutputs(Value input, Value route, const RouterValues &router) {
  MlpShape shape = expertShape();
  Value output = expertRows(input, route, shape);
  bool parallel = spec.experts.lora && spec.experts.lora->at == LoraAt::Parallel;
  if (parallel)
    output = lora(input, output, route, shape.outputs);
  if (spec.experts.normOut)
    output = layerNorm(output, router, route, shape.outputs);
  return parallel || spec.experts.normOut ? scaledOutput(output, outputScale()) : output;
}

Value LayerBuilder::buildExperts(const RouterValues &router) {
  Value tokens = spec.experts.latent ? latentIn() : x;
  Value combined =
      spec.experts.heterogeneous() ? buildClasses(router, tokens) : routedOutputs(router, tokens, spec.experts.count);
  return spec.experts.latent ? latentOut(combined) : combined;
}

// Σ_j w_j · expert_{id_j}(x), or Σ_j expert_{id_j}(w_j · x) where the weight is applied to the input; f32
Value LayerBuilder::routedOutputs(const RouterValues &router, Value tokens, int64_t experts) {
  Type f32 = builder.getF32Type();
  auto dispatch = moe::DispatchOp::create(builder, loc, routeOfExperts(experts), router.kept);
  if (!spec.experts.heterogeneous())
    dispatch->setAttr("moe.experts", builder.getUnitAttr());
  Value route = dispatch;
  auto tokenType = cast<RankedTensorType>(tokens.getType());
  Value input = moe::GatherOp::create(builder, loc, tokenType, tokens, route);
  bool weightsInput = spec.combine.apply == CombineApply::Input;
  if (weightsInput) {
    Value weight = moe::GatherOp::create(builder, loc, rowVector(f32), router.weights, route);
    input = map({{input, OperandKind::elem}, {weight, OperandKind::row}}, tokenType,
                [&](ValueRange v) { return fromF32(multiply(toF32(v[0]), v[1]), tokenType.getElementType()); });
  }
  Value output = expertOutputs(input, route, router);
  routed.push_back({output, route});
  int64_t width = spec.experts.latent ? spec.experts.latent->dim : spec.hidden;
  return moe::CombineOp::create(builder, loc, rows(f32, width), output, route, weightsInput ? Value() : router.weights,
                                ValueRange(), builder.getArrayAttr({}));
}

// Several blocks are groups that every token visits.
Value LayerBuilder::sharedBlocks(const MlpShape &shape, Value tokens) {
  const SharedSpec &shared = *spec.shared;
  if (shared.count == 1)
    return expertRows(tokens, Value(), shape);
  auto routeType = moe::RouteType::get(builder.getContext(), shared.count, shared.count);
  Value route = moe::DispatchOp::create(builder, loc, routeType, columns(shared.count));
  Value input = moe::GatherOp::create(builder, loc, tokens.getType(), tokens, route);
  return moe::CombineOp::create(builder, loc, rows(builder.getF32Type(), spec.hidden), expertRows(input, route, shape),
                                route, Value(), ValueRange(), builder.getArrayAttr({}));
}

// [T] σ(in·gᵀ)
Value LayerBuilder::sharedGate(Value tokens) {
  Value z = matmul(tokens, parameter("shared.gate_weight"), Value());
  return map({{sumRows(z), OperandKind::elem}}, rowVector(builder.getF32Type()),
             [&](ValueRange v) { return functions.apply(builder, loc, "sigmoid", v[0]); });
}

// (own, factor) = softmax(in·Cᵀ + c)
void LayerBuilder::mixShared(Value tokens, SharedValues &shared) {
  Value product = matmul(tokens, parameter("shared.gate_weight"), Value());
  auto type = cast<RankedTensorType>(product.getType());
  Value z = map({{product, OperandKind::elem}, {parameter("shared.gate_bias"), OperandKind::col}}, type,
                [&](ValueRange v) { return add(v[0], v[1]); });
  Value pair = moe::SoftmaxOp::create(builder, loc, type, z, IntegerAttr());
  auto part = [&](int32_t n) {
    return sumRows(map({{pair, OperandKind::elem}, {columns(2), OperandKind::elem}}, type,
                       [&](ValueRange v) { return select(equal(v[1], n), v[0], number(0)); }));
  };
  shared.own = part(0);
  shared.factor = part(1);
}

// scale · (Σ or mean over blocks), and the gate, which reads what the blocks read
SharedValues LayerBuilder::buildShared() {
  const SharedSpec &shared = *spec.shared;
  MlpShape shape;
  shape.prefix = "shared";
  shape.gateBias = "shared.gate_in_bias";
  shape.form = shared.form;
  shape.activation = shared.actName;
  shape.width = shared.form == ExpertForm::Linear ? spec.hidden : shared.intermediate;
  shape.outputs = spec.hidden;
  shape.bias = shared.bias;
  SharedValues out;
  Value tokens = shared.input == BranchInput::Residual ? input("residual") : x;
  out.output = sharedBlocks(shape, tokens);
  out.output =
      scaledOutput(out.output, shared.scale / (shared.reduce == SharedReduce::Mean ? double(shared.count) : 1.0));
  if (shared.gate == SharedGate::Sigmoid)
    out.factor = sharedGate(tokens);
  if (shared.gate == SharedGate::Softmax2)
    mixShared(tokens, out);
  return out;
}

} // namespace moec
