// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildShared.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

MlpShape SharedBuilder::shape() const {
  MlpShape shape;
  shape.prefix = "shared";
  shape.gateBias = "shared.gate_in_bias";
  shape.block = shared;
  shape.activationKey = "shared.act";
  shape.width = shared.form == ExpertForm::Linear ? spec.hidden : shared.intermediate;
  shape.outputs = spec.hidden;
  if (!spec.combine.rowsF32)
    shape.outputScale = scale();
  return shape;
}

double SharedBuilder::scale() const {
  return shared.scale / (shared.reduce == SharedReduce::Mean ? double(shared.count) : 1.0);
}

// Several blocks are groups that every token visits.
Value SharedBuilder::blocks(Value tokens, Value weights) {
  MlpBuilder mlp(*this, elementOf(spec.dtype.activation), layer);
  auto outputs = [&](Value input, Value route) {
    Value output = mlp.outputs(input, route, shape());
    return spec.combine.rowsF32 ? output : rounded(output, elementOf(spec.dtype.activation));
  };
  if (shared.count == 1)
    return outputs(tokens, Value());
  auto routeType = moe::RouteType::get(builder.getContext(), shared.count, shared.count);
  Value route = moe::DispatchOp::create(builder, loc, routeType, columns(shared.count));
  return combine(outputs(gather(tokens, route), route), route, weights);
}

// σ(in·gᵀ)
Value SharedBuilder::sigmoidGate(Value tokens) {
  Value z = matmul(tokens, layer.parameter("shared.gate_weight"), Value());
  return map({{sumRows(z), OperandKind::elem}}, rowVector(f32()),
             [&](ValueRange v) { return apply("sigmoid", "shared.gate", v[0]); });
}

// softmax(in·Cᵀ + c)
Value SharedBuilder::softmaxGates(Value tokens) {
  Value product = matmul(tokens, layer.parameter("shared.gate_weight"), Value());
  Value z = map({{product, OperandKind::elem}, {layer.parameter("shared.gate_bias"), OperandKind::col}},
                typeOf(product), [&](ValueRange v) { return add(v[0], v[1]); });
  return softmax(z);
}

// scale · (Σ or mean over blocks), and the gate, which reads what the blocks read. Rows that are rounded have their
// factor before.
SharedValues SharedBuilder::build(Value weights) {
  Value tokens = shared.input == BranchInput::Residual ? layer.input("residual") : layer.x;
  SharedValues out;
  out.output = scaledRows(blocks(tokens, weights), spec.combine.rowsF32 ? scale() : 1);
  if (weights && shared.count == 1)
    out.factor = sumRows(weights);
  if (shared.gate == SharedGate::Sigmoid)
    out.factor = sigmoidGate(tokens);
  if (shared.gate == SharedGate::Softmax2) {
    Value gates = softmaxGates(tokens);
    out.own = columnOf(gates, 0);
    out.factor = columnOf(gates, 1);
  }
  return out;
}

} // namespace moec
