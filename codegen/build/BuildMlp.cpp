// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildMlp.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// silu is v·σ(v): act_alpha makes it v·σ(alpha·v), softcap.gate cap·tanh(v/cap)·σ(alpha·v).
Value MlpBuilder::activated(Value value, const MlpShape &shape) {
  const FeedForward &block = shape.block;
  std::optional<double> cap = block.softcap ? block.softcap->gate : std::nullopt;
  if (block.actAlpha == 1 && !cap)
    return apply(block.actName, shape.activationKey, value);
  Value factor = apply("sigmoid", shape.activationKey, scaled(value, block.actAlpha));
  return multiply(cap ? softCapped(value, *cap) : value, factor);
}

// h = act(min(g, L)) · (cap(clamp(u, -L, L)) + offset),   g = in·Gᵀ + b, u = in·Uᵀ + b;   post_act: min(act(g), L)
Value MlpBuilder::gluHidden(Value input, Value route, const MlpShape &shape) {
  const FeedForward &block = shape.block;
  Value gate = projected(input, shape.prefix + ".gate", route, shape);
  Value up = projected(input, shape.prefix + ".up", route, shape);
  SmallVector<Bound> operands = {{gate, OperandKind::elem}, {up, OperandKind::elem}};
  if (block.bias.in) {
    operands.push_back({layer.parameter(shape.gateBias), OperandKind::col});
    operands.push_back({layer.parameter(shape.prefix + ".up_bias"), OperandKind::col});
  }
  if (shape.hiddenMask)
    operands.push_back({shape.hiddenMask, OperandKind::elem});
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value g = block.bias.in ? add(v[0], v[2]) : v[0];
    Value u = block.bias.in ? add(v[1], v[3]) : v[1];
    bool before = block.clamp && block.clamp->at == ClampAt::PreAct;
    g = activated(before ? atMost(g, block.clamp->limit) : g, shape);
    if (block.clamp && !before)
      g = atMost(g, block.clamp->limit);
    if (block.clamp)
      u = atLeast(atMost(u, block.clamp->limit), -block.clamp->limit);
    if (block.softcap && block.softcap->up)
      u = softCapped(u, *block.softcap->up);
    if (block.upOffset != 0)
      u = add(u, number(block.upOffset));
    Value h = scaled(multiply(g, u), shape.hiddenScale);
    return fromF32(shape.hiddenMask ? multiply(h, v.back()) : h, type);
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

// h = act(in·Wᵀ + b), within ±L before or after the activation where there is a clamp; the last one with its dropout
Value MlpBuilder::mlpHidden(Value input, Value route, const MlpShape &shape, const std::string &role, bool last) {
  SmallVector<Bound> operands = {{projected(input, role, route, shape), OperandKind::elem}};
  const std::optional<ExpertClamp> &clamp = shape.block.clamp;
  auto clamped = [&](Value value, ClampAt at) {
    if (!clamp || clamp->at != at)
      return value;
    return atLeast(atMost(value, clamp->limit), -clamp->limit);
  };
  if (shape.block.bias.in)
    operands.push_back({layer.parameter(role + "_bias"), OperandKind::col});
  bool masked = last && shape.hiddenMask;
  if (masked)
    operands.push_back({shape.hiddenMask, OperandKind::elem});
  return map(operands, rows(type, shape.width), [&](ValueRange v) {
    Value value = shape.block.bias.in ? add(v[0], v[1]) : v[0];
    value = clamped(activated(clamped(value, ClampAt::PreAct), shape), ClampAt::PostAct);
    value = scaled(value, last ? shape.hiddenScale : 1.0);
    return fromF32(masked ? multiply(value, v.back()) : value, type);
  });
}

// o = h·Dᵀ + b, times the output scale
Value MlpBuilder::outputs(Value input, Value route, const MlpShape &shape) {
  bool linear = shape.block.form == ExpertForm::Linear;
  Value hidden = input;
  if (shape.block.form == ExpertForm::Glu)
    hidden = gluHidden(input, route, shape);
  if (shape.block.form == ExpertForm::Mlp) {
    hidden = mlpHidden(input, route, shape, shape.prefix + ".up", shape.layers == 1);
    for (int64_t n = 1; n < shape.layers; ++n)
      hidden = mlpHidden(hidden, route, shape, shape.prefix + ".hidden" + std::to_string(n), n + 1 == shape.layers);
  }
  std::string last = shape.prefix + (linear ? ".up" : ".down");
  Value output = projected(hidden, last, route, shape);
  bool bias = linear ? shape.block.bias.in : shape.block.bias.out;
  if (!bias && shape.outputScale == 1)
    return output;
  SmallVector<Bound> operands = {{output, OperandKind::elem}};
  if (bias)
    operands.push_back({layer.parameter(last + "_bias"), OperandKind::col});
  return map(operands, rows(f32(), shape.outputs),
             [&](ValueRange v) { return scaled(bias ? add(v[0], v[1]) : v[0], shape.outputScale); });
}

} // namespace moec
