// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: one spec, built and called once with random weights and inputs, by the reference and by the
// interpreter.

#ifndef MOEC_TESTS_INTERPRET_BOTHANSWERS_H
#define MOEC_TESTS_INTERPRET_BOTHANSWERS_H

#include "tests/build/BuiltLayer.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/interpret/Interpreter.h"
#include "codegen/interpret/LayerParameters.h"
#include "codegen/moe/SlotInputRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace moec {

inline interpret::TensorRef tensorOf(std::vector<int64_t> shape, std::vector<double> data) {
  auto tensor = std::make_shared<interpret::Tensor>();
  tensor->shape = std::move(shape);
  tensor->data = std::move(data);
  return tensor;
}

inline interpret::TensorRef weightOf(const RandomLayer &weights, const std::string &role) {
  auto found = weights.tensors.find(role);
  if (found == weights.tensors.end())
    return nullptr;
  int64_t count = 1;
  for (int64_t extent : found->second.shape)
    count *= extent;
  std::vector<double> data;
  for (int64_t i = 0; i < count; ++i)
    data.push_back(loadElement(found->second.data, found->second.type, i));
  return tensorOf(found->second.shape, std::move(data));
}

struct BothAnswers {
  BuiltLayer built;
  RandomLayer weights;
  ReferenceInputs inputs;
  ReferenceOutputs want;
  interpret::CallResults got;
  std::string error;

  bool readGolden(const std::string &path) {
    nlohmann::json file = nlohmann::json::parse(readFile(path));
    if (file["spec"]["router"].value("kind", "") == "table")
      file["spec"]["router"]["vocab"] = 23; // rows of the stored table
    return built.read(file["spec"].dump(), file["dtype"].get<std::string>());
  }

  bool runReference(int64_t tokens) {
    const LayerSpec &spec = *built.spec;
    if (!weights.make(spec, 5))
      return false;
    CallInputs unused;
    randomInputs(spec, tokens, 11, unused, inputs);
    std::vector<float> x(size_t(tokens * spec.hidden));
    fillNormal(x.data(), DataType::F32, tokens * spec.hidden, 0, 1, 3);
    inputs.x = {{tokens, spec.hidden}, {x.begin(), x.end()}};
    inputs.weights = &weights.view;
    Result<ReferenceOutputs> ran = moec::runReference(spec, inputs);
    if (!ran) {
      error = ran.error().message;
      return false;
    }
    want = std::move(*ran);
    return true;
  }

  std::vector<interpret::Evaluated> arguments() {
    std::vector<interpret::Evaluated> out;
    for (unsigned i = 0; i < built.layer.getNumArguments(); ++i) {
      auto type = mlir::cast<mlir::RankedTensorType>(built.layer.getArgumentTypes()[i]);
      std::string role = built.layer.getArgAttrOfType<mlir::StringAttr>(i, "moe.role").getValue().str();
      std::vector<int64_t> shape = type.getShape().vec();
      for (int64_t &extent : shape)
        extent = mlir::ShapedType::isDynamic(extent)
                     ? rowsOfInput(built.layer.getArgument(i), inputs.numTokens, inputs.tokensPerSequence)
                     : extent;
      if (role == "x")
        out.push_back({tensorOf(shape, inputs.x.data), nullptr});
      else if (auto extra = inputs.extra.find(role); extra != inputs.extra.end())
        out.push_back({tensorOf(shape, extra->second.data), nullptr});
      else
        out.push_back(
            {interpret::argumentValue(built.layer, i, [&](const std::string &name) { return weightOf(weights, name); }),
             nullptr});
    }
    return out;
  }

  bool runInterpreter() {
    built.layer = findLayer(*built.module);
    interpret::CallShape shape;
    shape.tokens = inputs.numTokens;
    shape.tokensPerSequence = inputs.tokensPerSequence;
    shape.round.narrow = false;
    return built.layer && succeeded(interpret::interpret(built.layer, arguments(), shape, got));
  }

  const interpret::Tensor *result(llvm::StringRef role) const {
    mlir::func::FuncOp layer = built.layer;
    for (unsigned i = 0; i < layer.getNumResults(); ++i)
      if (layer.getResultAttrOfType<mlir::StringAttr>(i, "moe.role").getValue() == role)
        return got.results[i].tensor.get();
    return nullptr;
  }

  // Constants of the text are f32. Where one of them is not a short fraction it may differ from the spec's number in
  // its last bit, and so may everything that follows; a tiny one only keeps a divisor from being zero.
  bool constantsAreExact() {
    bool exact = true;
    built.layer.walk([&](mlir::arith::ConstantOp constant) {
      if (auto number = mlir::dyn_cast<mlir::FloatAttr>(constant.getValue())) {
        int exponent;
        double mantissa = std::frexp(number.getValueAsDouble(), &exponent) * 0x1p16;
        bool tiny = std::fabs(number.getValueAsDouble()) < 1e-5;
        exact &= tiny || mantissa == std::floor(mantissa) || !std::isfinite(mantissa);
      }
    });
    return exact;
  }
};

} // namespace moec

#endif
