// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gradients of layers in training: with masks, samples and draws as inputs of the call.

#include "tests/grad/GradientCase.h"

#include "codegen/check/RandomSpec.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// `text` as a layer that is trained; its selectors, which have no gradient, are frozen. False: it cannot be.
bool readTrained(GradientCase &one, const std::string &text) {
  nlohmann::json json = nlohmann::json::parse(text);
  json["passes"] = {"forward", "backward"};
  json["frozen"] = nlohmann::json::array();
  std::string wrap = json.contains("layer") ? json["layer"].value("wrap", "") : "";
  if (wrap == "skip")
    json["frozen"] = {"skip.weight", "skip.bias"};
  if (wrap == "conditional")
    json["frozen"] = {"selector.weight", "selector.bias"};
  return one.both.built.read(json.dump());
}

std::vector<double> gradientOf(GradientCase &one, const std::string &role) {
  for (auto &[name, tensor] : one.gradients())
    if (name == role)
      return tensor->data;
  return {};
}

void expectNear(const std::vector<double> &found, const std::vector<double> &wanted, double factor = 1) {
  ASSERT_FALSE(wanted.empty());
  ASSERT_EQ(found.size(), wanted.size());
  double size = 0;
  for (double v : wanted)
    size = std::max(size, std::fabs(v));
  EXPECT_GT(size, 0);
  for (size_t i = 0; i < wanted.size(); ++i)
    EXPECT_NEAR(found[i], wanted[i] * factor, 1e-6 * size) << i;
}

std::string layer(const std::string &router, const std::string &experts = "", const std::string &more = "") {
  return R"({"moec": 1, "name": "trained", "hidden": 6, "router": {)" + router +
         R"(}, "experts": {"count": 5, "intermediate": 7)" + experts + "}" + more + "}";
}

// y of the interpreter is that of the reference, and gradients are its differences.
void expectGradients(GradientCase &one, int64_t tokens, uint64_t seed, int &tensors) {
  ASSERT_TRUE(one.prepare(tokens, seed));
  EXPECT_TRUE(one.both.inputs.training);
  if (auto midpoints = one.both.inputs.extra.find("midpoint_mask"); midpoints != one.both.inputs.extra.end())
    for (double &mask : midpoints->second.data)
      mask = 1; // elsewhere the gradient is not that of the value
  std::vector<int64_t> choices;
  if (!std::isfinite(one.valueAt(choices))) {
    ASSERT_TRUE(one.both.error.empty()) << one.both.error;
    return;
  }
  ASSERT_TRUE(one.runInterpreter());
  Comparison forward = one.compareForward();
  EXPECT_TRUE(forward.pass) << "y: " << forward.text;
  double relative = one.both.constantsAreExact() ? 1e-6 : 1e-5;
  for (const auto &[name, values] : one.tensors) {
    if (name == "router.table")
      continue;
    GradientCase::Difference found = one.along(name, 31 + seed);
    ASSERT_TRUE(one.both.error.empty()) << one.both.error;
    tensors += found.steady;
    double tolerance = relative * std::max(found.size, std::fabs(found.wanted)) + relative / 100 * (1 + found.value);
    if (found.steady)
      EXPECT_NEAR(found.found, found.wanted, tolerance) << name << ", parts " << found.size;
  }
}

TEST(TrainingGradient, random_specs_agree_with_differences_of_the_reference) {
  RandomSizes sizes;
  sizes.most = 16;
  sizes.experts = 8;
  int layers = 0, tensors = 0;
  std::map<std::string, int> inputs;
  for (uint64_t seed = 1001; seed <= 1350; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    GradientCase one;
    if (!readTrained(one, randomSpecText(seed, sizes)) || one.both.built.spec->experts.act == Activation::Custom)
      continue;
    one.both.built.spec->router.straightThrough = false; // its gradient is not that of the value
    if (!one.both.built.buildGradient()) {
      EXPECT_EQ(one.both.built.refusals.front().code, "E-UNSUPPORTED") << one.both.built.refusals.front().message;
      continue;
    }
    expectGradients(one, 1 + int64_t(seed % 11), seed, tensors);
    ++layers;
    for (const std::string &name : one.both.built.spec->inputNames())
      ++inputs[name];
  }
  EXPECT_GE(layers, 300);
  for (const char *name : {"jitter", "noise", "replace", "expert_mask", "hidden_mask", "output_mask", "midpoint_mask"})
    EXPECT_GE(inputs[name], 4) << name;
  std::printf("%d layers, %d tensors\n", layers, tensors);
}

// Where the weight is a third of the score, its gradient is still that of the score.
TEST(TrainingGradient, sparsemixer_learns_by_the_whole_score) {
  GradientCase whole, third;
  for (GradientCase *one : {&whole, &third}) {
    ASSERT_TRUE(readTrained(
        *one, layer(R"("select": {"kind": "sparsemixer", "eps": 0.4})", "", R"(, "inputs": {"expert_ids": true})")));
    ASSERT_TRUE(one->both.built.buildGradient());
    ASSERT_TRUE(one->prepare(9, 4));
    one->both.inputs.extra["midpoint_mask"].data.assign(18, one == &whole ? 1 : 0);
    ASSERT_TRUE(one->runInterpreter());
    EXPECT_TRUE(one->compareForward().pass) << one->compareForward().text;
  }
  expectNear(gradientOf(third, "router.weight"), gradientOf(whole, "router.weight"));
  expectNear(gradientOf(third, "experts.down"), gradientOf(whole, "experts.down"), 1.0 / 3);
}

TEST(TrainingGradient, straight_through_learns_as_scores_do) {
  for (const char *router :
       {R"("top_k": 2, "score": "sigmoid")", R"("top_k": 3, "score_over": "selected", "bias": true)",
        R"("select": {"kind": "top_p", "p": 0.5, "k_max": 3}, "score_over": "selected", "score": "sigmoid")"}) {
    SCOPED_TRACE(router);
    GradientCase soft, hard, fixed;
    ASSERT_TRUE(readTrained(soft, layer(router)));
    ASSERT_TRUE(readTrained(hard, layer(std::string(router) + R"(, "weight_mode": "mean", "straight_through": true)")));
    ASSERT_TRUE(readTrained(fixed, layer(std::string(router) + R"(, "weight_mode": "mean")")));
    for (GradientCase *one : {&soft, &hard, &fixed}) {
      ASSERT_TRUE(one->both.built.buildGradient());
      ASSERT_TRUE(one->prepare(9, 4));
      ASSERT_TRUE(one->runInterpreter());
      EXPECT_TRUE(one->compareForward().pass) << one->compareForward().text;
    }
    expectNear(gradientOf(hard, "router.weight"), gradientOf(soft, "router.weight"));
    expectNear(gradientOf(hard, "experts.down"), gradientOf(fixed, "experts.down"));
    EXPECT_TRUE(gradientOf(fixed, "router.weight").empty());
  }
}

// A forward only layer of the same spec has none of the inputs and computes what it did before.
TEST(TrainingGradient, inputs_exist_in_training_only) {
  const std::string text =
      layer(R"("top_k": 2, "input": {"jitter": 0.25}, "noise": {"kind": "normal"}, "random_replace": {"p": 0.1},
               "expert_dropout": {"p": 0.1})",
            R"(, "hidden_dropout": {"p": 0.1, "eval": "scale"}, "output_dropout": {"p": 0.2})");
  BuiltLayer forward;
  ASSERT_TRUE(forward.read(text) && forward.build());
  EXPECT_TRUE(forward.spec->inputNames().empty());
  EXPECT_NE(forward.text().find("0.899999976"), std::string::npos); // eval: scale
  BuiltLayer plain;
  ASSERT_TRUE(plain.read(layer(R"("top_k": 2)", R"(, "hidden_dropout": {"p": 0.1, "eval": "scale"})")) &&
              plain.build());
  auto body = [](BuiltLayer &built) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    for (mlir::func::FuncOp function : built.module->getOps<mlir::func::FuncOp>())
      for (mlir::Operation &op : function.getBody().front())
        op.print(stream, mlir::OpPrintingFlags().useLocalScope());
    return text;
  };
  EXPECT_EQ(body(forward), body(plain));
  GradientCase trained;
  ASSERT_TRUE(readTrained(trained, text));
  EXPECT_EQ(trained.both.built.spec->inputNames(),
            (std::vector<std::string>{"noise", "jitter", "replace", "replace_ids", "hidden_mask", "output_mask",
                                      "expert_mask"}));
  ASSERT_TRUE(trained.both.built.buildGradient());
  EXPECT_EQ(trained.both.built.text().find("0.899999976"), std::string::npos);
}

bool isFinite(const std::vector<double> &values) {
  return llvm::all_of(values, [](double v) { return std::isfinite(v); });
}

// Tokens that reach no expert leave no NaN in the gradients, whatever their weights were divided by.
TEST(TrainingGradient, tokens_without_experts_have_no_gradient) {
  for (const char *router :
       {R"("top_k": 2, "normalize": {"kind": "sum"}, "expert_dropout": {"p": 0.5})",
        R"("top_k": 2, "normalize": {"kind": "softmax"}, "expert_dropout": {"p": 0.5})",
        R"("top_k": 2, "normalize": {"kind": "lp", "p": 2.5}, "expert_dropout": {"p": 0.5})",
        R"("top_k": 2, "score_over": "selected", "expert_dropout": {"p": 0.5, "at": "after"})",
        R"("top_k": 2, "score_over": "selected", "normalize": {"kind": "sum"}, "expert_dropout": {"p": 0.5})",
        R"("top_k": 2, "weight_mode": "mean", "straight_through": true, "expert_dropout": {"p": 0.5})"}) {
    SCOPED_TRACE(router);
    GradientCase one;
    ASSERT_TRUE(readTrained(one, layer(router)));
    ASSERT_TRUE(one.both.built.buildGradient());
    ASSERT_TRUE(one.prepare(6, 4));
    std::vector<double> &mask = one.both.inputs.extra["expert_mask"].data;
    std::fill(mask.begin(), mask.begin() + 10, 0); // tokens 0 and 1
    ASSERT_TRUE(one.runInterpreter());
    EXPECT_TRUE(one.compareForward().pass) << one.compareForward().text;
    EXPECT_TRUE(isFinite(gradientOf(one, "router.weight")));
    std::vector<double> x = gradientOf(one, "x");
    ASSERT_TRUE(isFinite(x));
    for (size_t i = 0; i < 12; ++i)
      EXPECT_EQ(x[i], 0);
  }
}

// Scores that are all 0 cannot be divided by their sum: NaN, as in published code, but only where such a token is used.
TEST(TrainingGradient, scores_of_zero_that_capacity_drops_have_no_gradient) {
  GradientCase one;
  ASSERT_TRUE(readTrained(
      one,
      layer(R"("top_k": 1, "score": "relu", "bias": true, "normalize": {"kind": "sum"},
                    "global_scale": true, "expert_scale": true)",
            "",
            R"(, "capacity": {"value": 1}, "losses": [{"kind": "entropy", "eps": 0}, {"kind": "cv2", "eps": 0}])")));
  ASSERT_TRUE(one.both.built.buildGradient());
  ASSERT_TRUE(one.prepare(4, 4));
  one.tensors["router.weight"].assign(30, 0);
  one.tensors["router.bias"] = {0.5, -1000, -1000, -1000, -1000};
  one.tensors["x"][0] = 1;
  one.tensors["router.weight"][0] = 0.125; // all tokens choose expert 0, the first takes its place
  for (size_t t = 1; t < 4; ++t)
    one.tensors["x"][6 * t] = -8; // scores of 0 for all others
  ASSERT_TRUE(one.runInterpreter());
  for (const auto &[name, tensor] : one.gradients())
    EXPECT_TRUE(isFinite(tensor->data)) << name;
}

// The same where a wrap leads such tokens around the experts, shared ones too.
TEST(TrainingGradient, scores_of_zero_that_a_wrap_leads_around_have_no_gradient) {
  GradientCase one;
  ASSERT_TRUE(readTrained(one, layer(R"("top_k": 1, "score": "relu", "normalize": {"kind": "sum"})", "",
                                     R"(, "shared": {"intermediate": 4, "gate": "router"}, "layer": {"wrap":
                                          "conditional", "dense": {"intermediate": 3}})")));
  ASSERT_TRUE(one.both.built.buildGradient());
  ASSERT_TRUE(one.prepare(4, 4));
  one.tensors["router.weight"].assign(36, 0);
  one.tensors["router.weight"][0] = 1;
  one.tensors["selector.weight"].assign(6, 0);
  one.tensors["selector.weight"][0] = 1;
  one.tensors["selector.bias"] = {0};
  for (size_t t = 0; t < 4; ++t)
    one.tensors["x"][6 * t] = t == 0 ? 1 : -8; // the first token has experts; scores of 0 for all others
  ASSERT_TRUE(one.runInterpreter());
  for (const auto &[name, tensor] : one.gradients())
    EXPECT_TRUE(isFinite(tensor->data)) << name;
}

// Masks of slots: gradients are differences of the reference, in one sequence and in several.
TEST(TrainingGradient, masks_of_slots) {
  const std::string dropout = R"(, "hidden_dropout": {"p": 0.4}, "output_dropout": {"p": 0.3})";
  for (const char *scope : {"batch", "sequence"}) {
    const std::string router = R"("kind": "soft", "slots": 2, "scope": ")" + std::string(scope) + '"';
    const std::string mixed = R"({"moec": 1, "name": "trained", "hidden": 6, "router": {)" + router +
                              R"(}, "experts": {"count": 4, "intermediate": [7, 40, 7, 40])" + dropout + "}}";
    for (const std::string &text :
         {layer(router, dropout), layer(router, dropout + R"(, "form": "mlp", "layers": 2, "bias": {"out": true})"),
          layer(router, dropout + R"(, "latent": {"dim": 4}, "norm_out": "rms")"),
          layer(router, dropout, R"(, "layer": {"wrap": "skip"})"), mixed,
          layer(R"("kind": "soft", "scope": ")" + std::string(scope) + '"',
                R"(, "output_scale": 0.5, "output_dropout": {"p": 0.5})")})
      for (uint64_t seed : {3, 4, 5}) {
        SCOPED_TRACE(text + ", seed " + std::to_string(seed));
        GradientCase one;
        ASSERT_TRUE(readTrained(one, text));
        ASSERT_TRUE(one.both.built.buildGradient());
        int tensors = 0;
        expectGradients(one, 8, seed, tensors);
        EXPECT_GT(tensors, 3);
      }
  }
}

// All tokens of a sequence go around the slots.
TEST(TrainingGradient, a_sequence_without_tokens_in_slots) {
  GradientCase one;
  ASSERT_TRUE(readTrained(one, layer(R"("kind": "soft")", "", R"(, "layer": {"wrap": "skip"})")));
  ASSERT_TRUE(one.both.built.buildGradient());
  ASSERT_TRUE(one.prepare(6, 4));
  one.both.inputs.batch = 2;
  one.both.inputs.tokensPerSequence = 3;
  one.tensors["skip.weight"].assign(6, 0);
  one.tensors["skip.weight"][0] = 1;
  one.tensors["skip.bias"] = {0};
  for (size_t t = 0; t < 6; ++t)
    one.tensors["x"][6 * t] = t < 3 ? 9 : -9;
  ASSERT_TRUE(one.runInterpreter());
  EXPECT_TRUE(one.compareForward().pass) << one.compareForward().text;
  EXPECT_TRUE(isFinite(gradientOf(one, "router.slots")));
  EXPECT_TRUE(isFinite(gradientOf(one, "x")));
}

} // namespace
