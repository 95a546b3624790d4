// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Expert forms, options and what joins their outputs, against values worked out by hand on H = 2, I = 1 or 2.

#include "TinyLayer.h"

#include "dsl/reference/ReferenceRounding.h"

#include <cmath>
#include <cstring>

using namespace moec;

namespace {

// One expert of weight 1 on H = 2.
struct OneExpert : TinyLayer {
  explicit OneExpert(const std::string &experts, const std::string &more = "")
      : TinyLayer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1}, \"experts\": {\"count\": 1, " + experts +
                  "}" + more + "}") {}
};

double silu(double v) { return v / (1 + std::exp(-v)); }

void expectNear(const std::vector<double> &actual, const std::vector<double> &expected, double tolerance = 1e-12) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

} // namespace

TEST(ExpertOracle, glu_formula_with_biases_offset_and_alpha) {
  OneExpert layer(
      "\"intermediate\": 1, \"act_alpha\": 2.0, \"up_offset\": 1.0, \"bias\": {\"in\": true, \"out\": true}");
  layer.set("experts.gate", {1, 2});
  layer.set("experts.up", {3, 4});
  layer.set("experts.down", {5, 6});
  layer.set("experts.gate_bias", {0.5});
  layer.set("experts.up_bias", {-0.5});
  layer.set("experts.down_bias", {0.25, 0.75});
  layer.setX({1, -1});
  double gate = -0.5, up = -1.5, h = gate / (1 + std::exp(-2 * gate)) * (up + 1);
  expectNear(layer.run().y, {5 * h + 0.25, 6 * h + 0.75});
}

TEST(ExpertOracle, clamp_before_and_after_the_activation) {
  auto hiddenOf = [](const std::string &at, double gate, double up) {
    OneExpert layer("\"intermediate\": 1, \"clamp\": {\"limit\": 2.0, \"at\": \"" + at + "\"}");
    layer.set("experts.gate", {1, 0});
    layer.set("experts.up", {0, 1});
    layer.set("experts.down", {1, 0});
    layer.setX({gate, up});
    return layer.run().y[0];
  };
  EXPECT_NEAR(hiddenOf("pre_act", 5, -9), silu(2) * -2, 1e-12);
  EXPECT_NEAR(hiddenOf("pre_act", -5, 9), silu(-5) * 2, 1e-12); // the gate is bounded from above only
  EXPECT_NEAR(hiddenOf("post_act", 5, 1), 2 * 1, 1e-12);
  EXPECT_NEAR(hiddenOf("post_act", 1.5, -9), silu(1.5) * -2, 1e-12);
}

// The sigmoid sees the gate itself; a clamp comes before a cap, an offset after it.
TEST(ExpertOracle, soft_caps_bound_both_branches) {
  auto hiddenOf = [](const std::string &keys, double gate, double up) {
    OneExpert layer("\"intermediate\": 1, " + keys);
    layer.set("experts.gate", {1, 0});
    layer.set("experts.up", {0, 1});
    layer.set("experts.down", {1, 0});
    layer.setX({gate, up});
    return layer.run().y[0];
  };
  auto cap = [](double v, double c) { return c * std::tanh(v / c); };
  auto sigma = [](double v) { return 1 / (1 + std::exp(-v)); };
  EXPECT_NEAR(hiddenOf("\"softcap\": {\"gate\": 4.0, \"up\": 25.0}", 6, -40), cap(6, 4) * sigma(6) * cap(-40, 25),
              1e-12);
  EXPECT_NEAR(hiddenOf("\"softcap\": {\"up\": 3.0}", -2, 5), silu(-2) * cap(5, 3), 1e-12);
  EXPECT_NEAR(hiddenOf("\"softcap\": {\"gate\": 2.0}, \"act_alpha\": 1.5", -3, 5), cap(-3, 2) * sigma(-4.5) * 5, 1e-12);
  EXPECT_NEAR(
      hiddenOf("\"softcap\": {\"gate\": 2.0, \"up\": 3.0}, \"clamp\": {\"limit\": 1.0}, \"up_offset\": 1.0", 5, 9),
      cap(1, 2) * sigma(1) * (cap(1, 3) + 1), 1e-12);
  EXPECT_NEAR(hiddenOf("\"softcap\": {\"gate\": 2.0}, \"clamp\": {\"limit\": 1.0, \"at\": \"post_act\"}", 5, -9),
              1 * -1, 1e-12);
}

// A shared block has the branches of an expert, with keys of its own.
TEST(ExpertOracle, shared_experts_bound_their_branches) {
  auto sharedOf = [](const std::string &keys, double gate, double up) {
    OneExpert layer("\"form\": \"linear\"", ", \"shared\": {\"intermediate\": 1, " + keys + "}");
    layer.set("experts.up", {0, 0, 0, 0});
    layer.set("shared.gate", {1, 0});
    layer.set("shared.up", {0, 1});
    layer.set("shared.down", {1, 0});
    layer.setX({gate, up});
    return layer.run().y[0];
  };
  auto sigma = [](double v) { return 1 / (1 + std::exp(-v)); };
  EXPECT_NEAR(sharedOf("\"clamp\": {\"limit\": 2.0}", 5, -9), silu(2) * -2, 1e-12);
  EXPECT_NEAR(sharedOf("\"clamp\": {\"limit\": 2.0, \"at\": \"post_act\"}", 5, 9), 2 * 2, 1e-12);
  EXPECT_NEAR(sharedOf("\"act_alpha\": 1.5, \"up_offset\": 1.0", -2, 3), -2 * sigma(-3) * 4, 1e-12);
  EXPECT_NEAR(sharedOf("\"softcap\": {\"gate\": 4.0, \"up\": 2.0}", 3, 5),
              4 * std::tanh(0.75) * sigma(3) * 2 * std::tanh(2.5), 1e-12);
}

TEST(ExpertOracle, mlp_hidden_layers) {
  OneExpert layer("\"form\": \"mlp\", \"act\": \"relu\", \"intermediate\": 2, \"layers\": 2, \"bias\": {\"in\": true}");
  layer.set("experts.up", {1, 0, 0, 1});
  layer.set("experts.up_bias", {1, 0});
  layer.set("experts.hidden1", {0, 2, 3, 0});
  layer.set("experts.hidden1_bias", {0, -1});
  layer.set("experts.down", {1, 10, 0, 1});
  layer.setX({1, 4});
  // h = relu(2, 4); then relu(8, 6-1); then (8 + 50, 5)
  expectNear(layer.run().y, {58, 5});
}

TEST(ExpertOracle, activation_every_kind) {
  const std::map<std::string, double> at = {
      {"silu", silu(1.5)}, {"gelu", 0.75 * (1 + std::erf(1.5 / std::sqrt(2)))},
      {"relu", 1.5},       {"gelu_tanh", 0.75 * (1 + std::tanh(std::sqrt(2 / M_PI) * (1.5 + 0.044715 * 3.375)))},
      {"relu2", 2.25},     {"quick_gelu", 1.5 / (1 + std::exp(-1.702 * 1.5))},
      {"identity", 1.5}};
  for (const auto &[act, value] : at) {
    OneExpert layer("\"form\": \"mlp\", \"intermediate\": 1, \"act\": \"" + act + "\"");
    layer.set("experts.up", {1, 0});
    layer.set("experts.down", {1, -1});
    layer.setX({1.5, 0});
    expectNear(layer.run().y, {value, -value});
  }
}

TEST(ExpertOracle, activation_from_a_function_text) {
  OneExpert layer("\"form\": \"mlp\", \"intermediate\": 1, \"act\": \"twice\"");
  layer.set("experts.up", {1, 0});
  layer.set("experts.down", {1, -1});
  layer.setX({1.5, 0});
  EXPECT_FALSE(layer.tryRun());
  EXPECT_EQ(layer.error, "activation 'twice' is not built in and no function text was given for it");
  layer.inputs.functions["twice"] = "func.func @twice(%x: f32) -> f32 {\n  %y = arith.addf %x, %x : f32\n}\n";
  EXPECT_FALSE(layer.tryRun());
  EXPECT_EQ(layer.error, "twice.mlir:3: found \"}\"; expected '%NAME = OPERATION' or 'func.return'");
  layer.inputs.functions["twice"] =
      "func.func @twice(%x: f32) -> f32 {\n  %y = arith.addf %x, %x : f32\n  func.return %y : f32\n}\n";
  expectNear(layer.run().y, {3, -3});
}

TEST(ExpertOracle, output_scale_dropout_and_norm) {
  OneExpert layer("\"form\": \"linear\", \"output_scale\": 0.5, \"output_dropout\": {\"p\": 0.2, \"eval\": \"scale\"}");
  layer.set("experts.up", {1, 0, 0, 1});
  layer.setX({3, -5});
  expectNear(layer.run().y, {3 * 0.4, -5 * 0.4});
  OneExpert hidden("\"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": 1, "
                   "\"hidden_dropout\": {\"p\": 0.25, \"eval\": \"scale\"}");
  hidden.set("experts.up", {1, 0});
  hidden.set("experts.down", {1, 1});
  hidden.setX({4, 0});
  expectNear(hidden.run().y, {3, 3});
  OneExpert norm("\"form\": \"linear\", \"norm_out\": \"layernorm\"");
  norm.set("experts.up", {1, 0, 0, 1});
  norm.set("experts.norm_weight", {2, 2});
  norm.set("experts.norm_bias", {0, 1});
  norm.setX({3, 1});
  double r = 1 / std::sqrt(1 + 1e-5);
  expectNear(norm.run().y, {2 * r, -2 * r + 1});
}

// rms has no mean and no bias; unit_offset adds 1 to the factor; with weight_at before it is part of the mean square.
TEST(ExpertOracle, norms_of_an_experts_output) {
  auto yOf = [](const std::string &norm, std::vector<float> weight) {
    OneExpert layer("\"form\": \"linear\", \"output_scale\": 2.0, \"norm_out\": " + norm);
    layer.set("experts.up", {1, 0, 0, 1});
    if (!weight.empty())
      layer.set("experts.norm_weight", weight);
    layer.setX({3, 1});
    return layer.run().y;
  };
  double r = 2 / std::sqrt(5 + 1e-5);
  expectNear(yOf("\"rms\"", {2, -1}), {2 * 3 * r, -r});
  expectNear(yOf("{\"kind\": \"rms\", \"weight\": false}", {}), {3 * r, r});
  expectNear(yOf("{\"kind\": \"rms\", \"unit_offset\": true, \"eps\": 0.25}", {2, -1}), {9 * 2 / std::sqrt(5.25), 0});
  double before = 2 / std::sqrt((81 + 4) / 2.0 + 1e-5);
  expectNear(yOf("{\"kind\": \"rms\", \"weight_at\": \"before\", \"unit_offset\": true}", {2, 1}),
             {9 * before, 2 * before});
  expectNear(yOf("{\"kind\": \"layernorm\", \"weight\": false, \"eps\": 0}", {}), {2, -2});
}

// One factor for all experts, or one of each.
TEST(ExpertOracle, norm_factors_per_expert_or_for_all) {
  auto yOf = [](const char *perExpert, std::vector<float> weight) {
    TinyLayer layer(std::string("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 2, \"weight_mode\": \"one\"}, "
                                "\"experts\": {\"count\": 2, \"form\": \"linear\", "
                                "\"norm_out\": {\"kind\": \"rms\", \"eps\": 0, \"per_expert\": ") +
                    perExpert + "}}}");
    layer.fill("router.weight", 0);
    layer.set("experts.up", {1, 0, 0, 1, 1, 0, 0, 1});
    layer.set("experts.norm_weight", weight);
    layer.setX({1, 1});
    return layer.run().y;
  };
  expectNear(yOf("true", {1, 2, 10, 20}), {11, 22});
  expectNear(yOf("false", {1, 2}), {2, 4});
}

TEST(ExpertOracle, lora_parallel_and_per_matrix) {
  OneExpert parallel("\"form\": \"linear\", \"lora\": {\"rank\": 1, \"alpha\": 3, \"at\": \"parallel\"}");
  parallel.set("experts.up", {1, 0, 0, 1});
  parallel.set("experts.lora_a", {1, 1});
  parallel.set("experts.lora_b", {0, 2});
  parallel.setX({3, 1});
  expectNear(parallel.run().y, {3, 1 + 3 * 8});
  OneExpert each("\"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": 1, "
                 "\"lora\": {\"rank\": 2, \"alpha\": 1, \"at\": \"per_matrix\"}");
  each.set("experts.up", {1, 0});
  each.set("experts.up_lora_a", {0, 1, 0, 1});
  each.set("experts.up_lora_b", {1, 3});
  each.set("experts.down", {1, 0});
  each.set("experts.down_lora_a", {2, 0});
  each.set("experts.down_lora_b", {0, 0, 1, 0});
  each.setX({3, 1});
  // h = 3 + (1 + 3)/2 = 5; y = (5, 10/2)
  expectNear(each.run().y, {5, 5});
}

TEST(ExpertOracle, latent_wraps_the_expert_sum) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 2, \"weight_mode\": \"one\"}, \"experts\": "
                  "{\"count\": 2, \"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": 1, "
                  "\"latent\": {\"dim\": 1, \"bias\": true}}}");
  layer.set("latent.in", {1, 1});
  layer.set("latent.in_bias", {1});
  layer.set("experts.up", {2, 3});
  layer.set("experts.down", {1, 1});
  layer.set("latent.out", {1, -1});
  layer.set("latent.out_bias", {0, 100});
  layer.setX({3, 4});
  expectNear(layer.run().y, {8 * 5, -8 * 5 + 100});
}

// norm_in before the experts, norm_out of their weighted sum; biases of the projections are before the one and after
// the other.
TEST(ExpertOracle, norms_in_the_latent_space) {
  auto yOf = [](const std::string &norms) {
    TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 2, \"weight_mode\": \"one\"}, \"experts\": "
                    "{\"count\": 2, \"form\": \"linear\", \"latent\": {\"dim\": 2, \"bias\": true, " +
                    norms + "}}}");
    layer.fill("router.weight", 0);
    layer.set("latent.in", {1, 0, 0, 1});
    layer.set("latent.in_bias", {0, 1});
    layer.set("experts.up", {1, 0, 0, 1, 1, 0, 0, 0});
    layer.set("latent.out", {1, 0, 0, 1});
    layer.set("latent.out_bias", {100, 0});
    bool in = norms.find("norm_in") != std::string::npos;
    layer.set(in ? "latent.norm_in_weight" : "latent.norm_out_weight",
              in ? std::vector<float>{1, 2} : std::vector<float>{1, 3});
    layer.setX({3, 0});
    return layer.run().y;
  };
  // v = (3, 1); the experts' sum is (2 v0, v1)
  double in = 1 / std::sqrt(5), out = 1 / std::sqrt((36 + 1) / 2.0);
  expectNear(yOf("\"norm_in\": {\"kind\": \"rms\", \"eps\": 0}"), {2 * 3 * in + 100, 2 * in});
  expectNear(yOf("\"norm_out\": {\"kind\": \"rms\", \"eps\": 0}"), {6 * out + 100, 3 * out});
}

// Of routed, shared and bias together.
TEST(ExpertOracle, norm_of_the_layers_output) {
  OneExpert layer("\"form\": \"linear\"",
                  ", \"shared\": {\"form\": \"linear\"}, \"combine\": {\"bias\": true, \"norm_out\": "
                  "{\"kind\": \"rms\", \"eps\": 0.5}}");
  layer.set("experts.up", {1, 0, 0, 1});
  layer.set("shared.up", {0, 1, 1, 0});
  layer.set("output.bias", {1, 0});
  layer.set("output.norm_weight", {2, 3});
  layer.setX({1, 2});
  double r = 1 / std::sqrt((16 + 9) / 2.0 + 0.5);
  expectNear(layer.run().y, {2 * 4 * r, 3 * 3 * r});
}

TEST(ExpertOracle, heterogeneous_widths) {
  LayerSpec spec =
      TinyLayer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 2, \"weight_mode\": \"one\"}, "
                "\"experts\": {\"count\": 2, \"form\": \"mlp\", \"act\": \"identity\", "
                "\"intermediate\": [1, 2]}, \"weights\": {\"experts.up\": {\"tensor\": \"u{e}\", \"stack\": "
                "\"per_expert\"}, \"experts.down\": {\"tensor\": \"d{e}\", \"stack\": \"per_expert\"}}}")
          .spec;
  const float router[4] = {1, 0, 0, 1}, up0[2] = {1, 1}, down0[2] = {1, 0}, up1[4] = {1, 0, 0, 1},
              down1[4] = {0, 1, 1, 0};
  MemoryWeights weights;
  auto add = [&](const char *role, int64_t index, const float *data, int64_t rows, int64_t cols) {
    weights.addMatrix(role, index, MatrixView{data, DataType::F32, rows, cols, cols, 1});
  };
  add("router.weight", 0, router, 2, 2);
  add("experts.up", 0, up0, 1, 2);
  add("experts.down", 0, down0, 2, 1);
  add("experts.up", 1, up1, 2, 2);
  add("experts.down", 1, down1, 2, 2);
  ReferenceInputs inputs;
  inputs.numTokens = 1;
  inputs.x = {{1, 2}, {3, 5}};
  inputs.weights = &weights;
  Result<ReferenceOutputs> outputs = runReference(spec, inputs);
  ASSERT_TRUE(outputs) << outputs.error().message;
  expectNear(outputs->y, {8 + 5, 0 + 3});
}

TEST(ExpertOracle, combine_apply_input_is_not_apply_output) {
  auto yOf = [](const std::string &apply) {
    TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1, \"score\": \"sigmoid\"}, \"experts\": "
                    "{\"count\": 2, \"form\": \"mlp\", \"act\": \"relu2\", \"intermediate\": 1}, "
                    "\"combine\": {\"apply\": \"" +
                    apply + "\"}}");
    layer.fill("router.weight", 0);
    layer.set("experts.up", {1, 1, 0, 0});
    layer.set("experts.down", {1, 2, 0, 0});
    layer.setX({1, 3});
    return layer.run().y;
  };
  expectNear(yOf("output"), {8, 16});
  expectNear(yOf("input"), {4, 8}); // (4/2)²
}

TEST(ExpertOracle, combine_bias_and_shared_gates) {
  const std::string linear = "\"form\": \"linear\"";
  auto yOf = [&](const std::string &shared, std::map<std::string, std::vector<float>> values) {
    OneExpert layer(linear, ", \"combine\": {\"bias\": true}, \"shared\": {\"form\": \"linear\", " + shared + "}");
    layer.set("experts.up", {1, 0, 0, 1});
    layer.set("output.bias", {10, 20});
    for (auto &[role, value] : values)
      layer.set(role, value);
    layer.setX({1, 2});
    layer.setExtra("residual", {5, 7});
    return layer.run().y;
  };
  const std::vector<float> swap = {0, 1, 1, 0};
  expectNear(yOf("\"scale\": 3.0", {{"shared.up", swap}}), {11 + 6, 22 + 3});
  expectNear(yOf("\"input\": \"residual\"", {{"shared.up", swap}}), {11 + 7, 22 + 5});
  double s = 1 / (1 + std::exp(-1.0));
  expectNear(yOf("\"gate\": \"sigmoid\"", {{"shared.up", swap}, {"shared.gate_weight", {1, 0}}}),
             {11 + 2 * s, 22 + 1 * s});
  double a = 1 / (1 + std::exp(2.0 + 0.5 - 1)); // softmax of (1, 2 + 0.5)
  expectNear(yOf("\"gate\": \"softmax2\"",
                 {{"shared.up", swap}, {"shared.gate_weight", {1, 0, 0, 1}}, {"shared.gate_bias", {0, 0.5}}}),
             {11 * a + 2 * (1 - a), 22 * a + 1 * (1 - a)});
  const std::vector<float> two = {0, 1, 1, 0, 1, 0, 0, 1};
  expectNear(yOf("\"count\": 2", {{"shared.up", two}}), {11 + 3, 22 + 3});
  expectNear(yOf("\"count\": 2, \"reduce\": \"mean\", \"bias\": {\"in\": true}",
                 {{"shared.up", two}, {"shared.up_bias", {1, 2, 3, 4}}}),
             {11 + (3 + 4) / 2.0, 22 + (3 + 6) / 2.0});
}

// Half a step of bf16 where rows are stored as such, and f32 errors where they are not: of routed and shared experts.
TEST(ExpertOracle, rounding_moves_rows_of_the_activation_type) {
  auto movedBy = [](const std::string &rows, const std::string &shared) {
    OneExpert layer("\"form\": \"linear\"",
                    ", \"dtype\": {\"activation\": \"bf16\", \"output\": \"f32\"}, \"combine\": {\"rows\": \"" + rows +
                        "\"}" + shared);
    layer.set("experts.up", {1, 0.001f, 0, 1});
    if (!shared.empty())
      layer.set("shared.up", {1, 0.001f, 0, 1});
    layer.setX({1, 1});
    double exact = layer.run().y[0];
    ReferenceRounding rounding(1, false);
    layer.inputs.rounding = &rounding;
    return std::fabs(layer.run().y[0] - exact);
  };
  const std::string shared = ", \"shared\": {\"form\": \"linear\", \"scale\": 2.0}";
  EXPECT_LT(movedBy("f32", ""), 1e-6);
  EXPECT_NEAR(movedBy("activation", ""), 0x1p-8, 1e-6);
  EXPECT_LT(movedBy("f32", shared), 1e-5);
  // 1.001 by 2^-8 and 2.002 by 2^-7, up or down
  double both = movedBy("activation", shared);
  EXPECT_TRUE(std::fabs(both - 3 * 0x1p-8) < 1e-5 || std::fabs(both - 0x1p-8) < 1e-5) << both;
}

TEST(ExpertOracle, untouched_experts_are_not_read) {
  // Only expert 2 has parameters; every token goes there.
  LayerSpec spec = TinyLayer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1}, \"experts\": {\"count\": 4, "
                             "\"form\": \"linear\"}}")
                       .spec;
  const float router[8] = {0, 0, 0, 0, 9, 9, 0, 0}, up[4] = {1, 0, 0, 1};
  MemoryWeights weights;
  weights.addMatrix("router.weight", 0, MatrixView{router, DataType::F32, 4, 2, 2, 1});
  weights.addMatrix("experts.up", 2, MatrixView{up, DataType::F32, 2, 2, 2, 1});
  ReferenceInputs inputs;
  inputs.numTokens = 1;
  inputs.x = {{1, 2}, {1, 1}};
  inputs.weights = &weights;
  EXPECT_TRUE(runReference(spec, inputs));
  inputs.x.data = {-1, -1}; // the lowest id of three zero logits
  Result<ReferenceOutputs> outputs = runReference(spec, inputs);
  ASSERT_FALSE(outputs);
  EXPECT_EQ(outputs.error().code, "E-REFERENCE");
  EXPECT_EQ(outputs.error().message, "weight 'experts.up' is missing; expected [2,2]");
}

TEST(ExpertOracle, weights_are_read_in_place_with_strides) {
  // in_out storage of two experts, unaligned: element (r, c) of expert e at 4e + 2c + r.
  const uint16_t bits[8] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, 0x4100}; // 1 .. 8 in bf16
  std::vector<unsigned char> bytes(17);
  memcpy(&bytes[1], bits, 16);
  MatrixView view{&bytes[1] + 8, DataType::BF16, 2, 2, 1, 2};
  double row[2];
  view.row(1, row);
  EXPECT_EQ(row[0], 6);
  EXPECT_EQ(row[1], 8);
  EXPECT_EQ(view.at(0, 1), 7);
}

TEST(ExpertOracle, decode_bf16_and_f16_exactly) {
  EXPECT_EQ(decodeBFloat16(0x3f81), 1.0078125);
  EXPECT_EQ(decodeBFloat16(0x0001), std::ldexp(1.0, -133));
  EXPECT_EQ(decodeBFloat16(0xff80), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(decodeBFloat16(0x7fc0)));
  EXPECT_EQ(decodeFloat16(0x0001), std::ldexp(1.0, -24));
  EXPECT_EQ(decodeFloat16(0x03ff), std::ldexp(1023.0, -24));
  EXPECT_EQ(decodeFloat16(0x0400), std::ldexp(1.0, -14));
  EXPECT_EQ(decodeFloat16(0x7bff), 65504);
  EXPECT_EQ(decodeFloat16(0xfc00), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(decodeFloat16(0x7c01)));
  EXPECT_TRUE(std::signbit(decodeFloat16(0x8000)));
#ifdef __FLT16_MANT_DIG__
  for (uint32_t i = 0; i < 0x10000; ++i) {
    uint16_t half = uint16_t(i);
    _Float16 value;
    memcpy(&value, &half, 2);
    if (!std::isnan(float(value))) {
      ASSERT_EQ(decodeFloat16(half), double(value)) << i;
    }
  }
#endif
}
