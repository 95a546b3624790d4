// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tests/grad/GradientCase.h"

#include "codegen/moe/SlotInputRows.h"

namespace moec {

static std::vector<double> normal(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  fillNormal(values.data(), DataType::F32, count, 0, 1, seed);
  return {values.begin(), values.end()};
}

bool GradientCase::prepare(int64_t tokens, uint64_t seed) {
  const LayerSpec &spec = *both.built.spec;
  if (!both.weights.make(spec, 5 + seed))
    return false;
  CallInputs unused;
  randomInputs(spec, tokens, 11 + seed, unused, both.inputs);
  for (const Role &role : tensorsOf(spec)) {
    interpret::TensorRef drawn = weightOf(both.weights, role.name);
    tensors[role.name] = drawn->data;
    weights.add(role, DataType::F64, tensors[role.name].data());
  }
  tensors["x"] = normal(tokens * spec.hidden, 3 + seed);
  for (const char *input : {"residual", "expert_weights"})
    if (auto extra = both.inputs.extra.find(input); extra != both.inputs.extra.end())
      tensors[input] = extra->second.data;
  both.inputs.weights = &weights;
  dy = normal(tokens * spec.hidden, 17 + seed);
  coefficients = normal(int64_t(spec.losses.size()), 23 + seed);
  return true;
}

bool GradientCase::take(const GoldenCase &golden) {
  const GoldenBatch *batch = nullptr;
  for (const GoldenBatch &each : golden.batches)
    batch = each.index == golden.lossBatch ? &each : batch;
  if (!batch)
    return false;
  both.inputs = referenceInputs(golden, *batch, weights);
  for (const auto &[role, stored] : golden.weights)
    tensors[role] = stored.values();
  tensors["x"] = both.inputs.x.data;
  dy = golden.dy.values();
  for (const LossSpec &loss : both.built.spec->losses)
    coefficients.push_back(golden.lossCoef.value_or(loss.coef));
  return true;
}

std::vector<std::pair<std::string, interpret::TensorRef>> GradientCase::gradients() const {
  mlir::func::FuncOp layer = both.built.layer;
  std::vector<std::pair<std::string, interpret::TensorRef>> out;
  for (unsigned r = 0; r < layer.getNumResults(); ++r) {
    llvm::StringRef role = layer.getResultAttrOfType<mlir::StringAttr>(r, "moe.role").getValue();
    if (role.consume_front("grad."))
      out.push_back({role.str(), got.results[r].tensor});
  }
  return out;
}

double GradientCase::valueAt(std::vector<int64_t> &choices, double *size) {
  both.inputs.x = {{both.inputs.numTokens, both.built.spec->hidden}, tensors["x"]};
  for (const char *input : {"residual", "expert_weights"})
    if (auto extra = both.inputs.extra.find(input); extra != both.inputs.extra.end())
      extra->second.data = tensors[input];
  Result<ReferenceOutputs> ran = moec::runReference(*both.built.spec, both.inputs);
  if (!ran) {
    both.error = ran.error().message;
    return NAN;
  }
  choices = ran->ids;
  choices.insert(choices.end(), ran->kept.begin(), ran->kept.end());
  choices.insert(choices.end(), ran->expertTokens.begin(), ran->expertTokens.end());
  choices.insert(choices.end(), ran->routed.begin(), ran->routed.end());
  choices.insert(choices.end(), ran->counts.begin(), ran->counts.end());
  double sum = 0, magnitudes = 0;
  auto add = [&](double term) {
    sum += term;
    magnitudes += std::fabs(term);
  };
  for (size_t i = 0; i < dy.size(); ++i)
    add(dy[i] * ran->y[i]);
  for (size_t i = 0; i < coefficients.size(); ++i)
    add(coefficients[i] * ran->losses[i]);
  if (size)
    *size = magnitudes;
  return sum;
}

bool GradientCase::runInterpreter() {
  mlir::func::FuncOp layer = both.built.layer;
  std::vector<interpret::Evaluated> arguments;
  for (unsigned i = 0; i < layer.getNumArguments(); ++i) {
    auto type = mlir::cast<mlir::RankedTensorType>(layer.getArgumentTypes()[i]);
    std::string role = layer.getArgAttrOfType<mlir::StringAttr>(i, "moe.role").getValue().str();
    std::vector<int64_t> shape = type.getShape().vec();
    for (int64_t &extent : shape)
      extent = mlir::ShapedType::isDynamic(extent)
                   ? rowsOfInput(layer.getArgument(i), both.inputs.numTokens, both.inputs.tokensPerSequence)
                   : extent;
    auto find = [&](const std::string &name) -> interpret::TensorRef {
      auto found = tensors.find(name);
      return found == tensors.end() ? nullptr : tensorOf({int64_t(found->second.size())}, found->second);
    };
    auto extra = both.inputs.extra.find(role);
    if (role == "grad.y")
      arguments.push_back({tensorOf(shape, dy), nullptr});
    else if (role == "grad.losses")
      arguments.push_back({tensorOf(shape, coefficients), nullptr});
    else if (role == "x")
      arguments.push_back({tensorOf(shape, tensors["x"]), nullptr});
    else if (extra != both.inputs.extra.end())
      arguments.push_back({tensorOf(shape, extra->second.data), nullptr});
    else
      arguments.push_back({interpret::argumentValue(layer, i, find), nullptr});
  }
  interpret::CallShape shape;
  shape.tokens = both.inputs.numTokens;
  shape.tokensPerSequence = both.inputs.tokensPerSequence;
  shape.round.narrow = false;
  return succeeded(interpret::interpret(layer, arguments, shape, got));
}

Comparison GradientCase::compareForward() {
  both.inputs.x = {{both.inputs.numTokens, both.built.spec->hidden}, tensors["x"]};
  CompareOptions options;
  options.maxRel = 1e-5;
  options.scale = 1e-3;
  Result<ReferenceOutputs> ran = moec::runReference(*both.built.spec, both.inputs);
  return compareRows(got.results.front().tensor->data, ran->y, both.built.spec->hidden, options);
}

void GradientCase::productOf(const std::string &name, const std::vector<double> &direction, Difference &out) {
  mlir::func::FuncOp layer = both.built.layer;
  auto roleAt = [&](unsigned i) { return layer.getArgAttrOfType<mlir::StringAttr>(i, "moe.role").getValue(); };
  for (const auto &[role, gradient] : gradients()) {
    std::vector<double> part;
    if (role == name) {
      part = direction;
    } else if (!tensors.count(role)) { // a parameter of several tensors
      for (unsigned i = 0; i < layer.getNumArguments(); ++i)
        if (roleAt(i) == role)
          part = interpret::argumentValue(layer, i, [&](const std::string &member) {
                   std::vector<double> values = tensors[member];
                   for (double &v : values)
                     v = 0;
                   return tensorOf({int64_t(values.size())}, member == name ? direction : values);
                 })->data;
    }
    for (size_t i = 0; i < part.size(); ++i) {
      out.found += part[i] * gradient->data[i];
      out.size += std::fabs(part[i] * gradient->data[i]);
    }
  }
}

GradientCase::Difference GradientCase::along(const std::string &name, uint64_t seed) {
  std::vector<double> &values = tensors[name], before = values;
  std::vector<double> direction = normal(int64_t(values.size()), seed);
  std::vector<int64_t> base, high, low;
  Difference out;
  (void)valueAt(base, &out.value);
  productOf(name, direction, out);
  auto at = [&](double h, std::vector<int64_t> &choices) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = before[i] + h * direction[i];
    return valueAt(choices);
  };
  out.steady = false;
  for (double step : {1e-5, 1e-6, 1e-7}) {
    double above = at(step, high), below = at(-step, low), wanted = (above - below) / (2 * step);
    if (base != high || base != low)
      continue;
    if (!out.steady || std::fabs(wanted - out.found) < std::fabs(out.wanted - out.found))
      out.wanted = wanted;
    out.steady = true;
  }
  std::copy(before.begin(), before.end(), values.begin());
  return out;
}

} // namespace moec
