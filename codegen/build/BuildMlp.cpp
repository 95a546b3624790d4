// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildMlp.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

Value MlpBuilder::activated(Value value, const MlpShape &shape) {
  if (shape.actAlpha == 1)
    return apply(shape.activation, shape.activationKey, value);
  return multiply(value, apply("sigmoid", shape.activationKey, scaled(value, shape.actAlpha)));
}

// h = act(min(g, L)) · (clamp(u, -L, L) + offset),   g = in·Gᵀ + b, u = in·Uᵀ + b;   post_act: min(act(g), L)
Value MlpBuilder::gluHidden(Value input, Value route, const MlpShape &shape) {
  Value gate = projected(input, shape.prefix + ".gate", route, shape);
  Value up = projected(input, shape.prefix + ".up", route, shape);
  SmallVector<Bound> operands = {{gate, OperandKind::elem}, {up, OperandKind::elem}};
  if (shape.bias.in) {
    operands.push_back({layer.parameter(shape.gateBias), OperandKind::col});
    operands.push_back({layer.parameter(shape.prefix + ".up_bias"), OperandKind::col});
  }
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value g = shape.bias.in ? add(v[0], v[2]) : v[0];
    Value u = shape.bias.in ? add(v[1], v[3]) : v[1];
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

Value MlpBuilder::withLora(Value product, Value input, Value route, const std::string &prefix, const LoraSpec &lora) {
  Value low = map({{matmul(input, layer.parameter(prefix + "lora_a"), route), OperandKind::elem}},
                  rows(type, lora.rank), [&](ValueRange v) { return fromF32(v[0], type); });
  Value high = matmul(low, layer.parameter(prefix + "lora_b"), route);
  double factor = lora.alpha / double(lora.rank);
  return map({{high, OperandKind::elem}, {product, OperandKind::elem}}, typeOf(product),
             [&](ValueRange v) { return add(v[1], scaled(v[0], factor)); });
}

// in·Wᵀ, with lora per matrix
Value MlpBuilder::projected(Value input, const std::string &role, Value route, const MlpShape &shape) {
  Value product = matmul(input, layer.parameter(role), route);
  return shape.matrixLora ? withLora(product, input, route, role + "_", *shape.matrixLora) : product;
}

// h = factor · act(in·Wᵀ + b), within ±L before or after the activation where there is a clamp
Value MlpBuilder::mlpHidden(Value input, Value route, const MlpShape &shape, const std::string &role, double factor) {
  SmallVector<Bound> operands = {{projected(input, role, route, shape), OperandKind::elem}};
  auto clamped = [&](Value value, ClampAt at) {
    if (!shape.clamp || shape.clamp->at != at)
      return value;
    return atLeast(atMost(value, shape.clamp->limit), -shape.clamp->limit);
  };
  if (shape.bias.in)
    operands.push_back({layer.parameter(role + "_bias"), OperandKind::col});
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value value = shape.bias.in ? add(v[0], v[1]) : v[0];
    value = clamped(activated(clamped(value, ClampAt::PreAct), shape), ClampAt::PostAct);
    return fromF32(scaled(value, factor), type);
  });
}

// o = h·Dᵀ + b, times the output scale
Value MlpBuilder::outputs(Value input, Value route, const MlpShape &shape) {
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
  std::string last = shape.prefix + (linear ? ".up" : ".down");
  Value output = projected(hidden, last, route, shape);
  bool bias = linear ? shape.bias.in : shape.bias.out;
  if (!bias && shape.outputScale == 1)
    return output;
  SmallVector<Bound> operands = {{output, OperandKind::elem}};
  if (bias)
    operands.push_back({layer.parameter(last + "_bias"), OperandKind::col});
  return map(operands, rows(f32(), shape.outputs),
             [&](ValueRange v) { return scaled(bias ? add(v[0], v[1]) : v[0], shape.outputScale); });
}

} // namespace moec
