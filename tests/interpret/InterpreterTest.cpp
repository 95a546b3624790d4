// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interpreter against the spec's reference: what `build` makes of a spec gives, op by op in float64 and without
// rounding, what the reference gives for the spec. They share only ReferenceRounding, which is off here.

#include "tests/build/BuiltLayer.h"

#include "codegen/check/Compare.h"
#include "codegen/check/OracleCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/interpret/Interpreter.h"
#include "codegen/interpret/LayerParameters.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>

using namespace moec;
using interpret::Evaluated;
using interpret::Tensor;
using interpret::TensorRef;

namespace {

TensorRef tensorOf(std::vector<int64_t> shape, std::vector<double> data) {
  auto tensor = std::make_shared<Tensor>();
  tensor->shape = std::move(shape);
  tensor->data = std::move(data);
  return tensor;
}

TensorRef weightOf(const RandomLayer &weights, const std::string &role) {
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

// One spec built and called once with random weights and inputs, by the reference and by the interpreter.
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

  std::vector<Evaluated> arguments() {
    std::vector<Evaluated> out;
    for (unsigned i = 0; i < built.layer.getNumArguments(); ++i) {
      auto type = mlir::cast<mlir::RankedTensorType>(built.layer.getArgumentTypes()[i]);
      std::string role = built.layer.getArgAttrOfType<mlir::StringAttr>(i, "moe.role").getValue().str();
      std::vector<int64_t> shape = type.getShape().vec();
      for (int64_t &extent : shape)
        extent = mlir::ShapedType::isDynamic(extent) ? inputs.numTokens : extent;
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

  const Tensor *result(llvm::StringRef role) const {
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

Comparison compared(const Tensor &got, const std::vector<double> &want, double tolerance) {
  CompareOptions options;
  options.maxRel = tolerance;
  options.scale = 1e-3;
  std::vector<double> expected = want, actual = got.data;
  for (size_t i = 0; i < expected.size() && i < actual.size(); ++i)
    if (std::isnan(expected[i])) // tokens that a wrap leads around the router
      expected[i] = actual[i] = 0;
  return compareRows(actual, expected, std::max<int64_t>(1, got.columns()), options);
}

// True: compared to 1e-9.
bool expectAgreement(BothAnswers &answers) {
  bool exact = answers.constantsAreExact();
  double tolerance = exact ? 1e-9 : 2e-6;
  const Tensor *y = answers.result("y"), *logits = answers.result("logits"), *ids = answers.result("ids");
  const Tensor *losses = answers.result("losses"), *weights = answers.result("weights");
  Comparison comparison = compared(*y, answers.want.y, tolerance);
  EXPECT_TRUE(comparison.pass) << "y: " << comparison.text;
  if (logits && logits->data.size() == answers.want.logits.size()) {
    comparison = compared(*logits, answers.want.logits, tolerance);
    EXPECT_TRUE(comparison.pass) << "logits: " << comparison.text;
  }
  if (losses) {
    comparison = compared(*losses, answers.want.losses, tolerance);
    EXPECT_TRUE(comparison.pass) << "losses: " << comparison.text;
  }
  if (ids && weights && ids->data.size() == answers.want.ids.size()) {
    CompareOptions options;
    options.maxRel = tolerance;
    std::vector<int64_t> got(ids->data.begin(), ids->data.end());
    comparison =
        compareChoices(got, weights->data, answers.want.ids, answers.want.weights, answers.want.choices, options);
    EXPECT_TRUE(comparison.pass) << "ids and weights: " << comparison.text;
  }
  return exact;
}

TEST(Interpreter, golden_specs_agree_with_the_reference) {
  int exact = 0, all = 0;
  for (const auto &entry : std::filesystem::directory_iterator(std::string(MOEC_SOURCE_DIR) + "/tests/golden")) {
    if (entry.path().extension() != ".json" || entry.path().stem().string().rfind("index", 0) == 0)
      continue;
    SCOPED_TRACE(entry.path().stem().string());
    BothAnswers answers;
    ASSERT_TRUE(answers.readGolden(entry.path()) && answers.built.build());
    ASSERT_TRUE(answers.runReference(24)) << answers.error;
    ASSERT_TRUE(answers.runInterpreter());
    exact += expectAgreement(answers);
    ++all;
  }
  EXPECT_GE(all, 73);
  EXPECT_GE(exact, 40);
  std::printf("%d layers, %d of them to 1e-9\n", all, exact);
}

TEST(Interpreter, random_specs_agree_with_the_reference) {
  RandomSizes sizes;
  sizes.most = 24;
  sizes.experts = 12;
  int exact = 0, all = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    BothAnswers answers;
    ASSERT_TRUE(answers.built.read(randomSpecText(seed, sizes)));
    if (!answers.built.build())
      continue; // refused: no layer of this version
    if (answers.built.spec->experts.act == Activation::Custom)
      continue;
    ASSERT_TRUE(answers.runReference(1 + int64_t(seed % 19))) << answers.error;
    ASSERT_TRUE(answers.runInterpreter());
    exact += expectAgreement(answers);
    ++all;
  }
  EXPECT_GE(all, 100);
  EXPECT_GE(exact, 35);
  std::printf("%d layers, %d of them to 1e-9\n", all, exact);
}

} // namespace
