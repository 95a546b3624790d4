// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a spec can add to the plain layer, each against the oracle on every instruction set, and two layers whose result
// is known in closed form.

#include "CompiledLayer.h"

namespace moec {
namespace {

struct Variant {
  const char *label;
  const char *router, *experts, *rest; // members of the JSON objects; `rest` of the top level
};

const Variant variants[] = {
    {"groups_top2_sum_of_5",
     R"("score": "sigmoid", "choice_bias": true, "groups": {"count": 3, "keep": 2, "score": "top2_sum"},
      "top_k": 4, "normalize": {"kind": "sum", "eps": 1e-20}, "scale": 2.5)",
     R"("count": 15)", ""},
    {"groups_max_of_7", R"("groups": {"count": 3, "keep": 1, "score": "max"}, "top_k": 3)", R"("count": 21)", ""},
    {"groups_max_of_1", R"("groups": {"count": 5, "keep": 3, "score": "max"}, "top_k": 2)", R"("count": 5)", ""},
    {"shared_plain", R"("top_k": 2)", R"("count": 5)", R"(, "shared": {"intermediate": 19})"},
    {"shared_gated", R"("top_k": 2)", R"("count": 5)", R"(, "shared": {"intermediate": 19, "gate": "sigmoid"})"},
    {"biases_clamp_alpha", R"("bias": true, "score_over": "selected", "top_k": 2)",
     R"("count": 5, "act_alpha": 1.702, "up_offset": 1, "clamp": {"limit": 0.75}, "bias": {"in": true, "out": true})",
     ""},
    {"input_applied", R"("score": "sigmoid", "top_k": 1)", R"("count": 5)", R"(, "combine": {"apply": "input"})"},
    {"input_applied_shared", R"("score": "sigmoid", "top_k": 2)", R"("count": 5)",
     R"(, "combine": {"apply": "input"}, "shared": {"intermediate": 19})"},
    {"mlp_gelu", R"("top_k": 2)", R"("count": 5, "form": "mlp", "act": "gelu", "bias": {"in": true, "out": true})", ""},
    {"mlp_relu2", R"("top_k": 2)", R"("count": 5, "form": "mlp", "act": "relu2")", ""},
    {"output_scale_over_lora", R"("top_k": 2)",
     R"("count": 5, "output_scale": 1.5, "output_dropout": {"p": 0.2, "eval": "scale"}, "lora": {"rank": 3, "alpha": 4})",
     ""},
    {"hidden_dropout_once", R"("top_k": 2)",
     R"("count": 5, "form": "mlp", "act": "relu", "layers": 3, "hidden_dropout": {"p": 0.25, "eval": "scale"})", ""},
    {"gather_of_padded_rows", R"("top_k": 2)", R"("count": 5, "latent": {"dim": 3}, "lora": {"rank": 3, "alpha": 4})",
     R"(, "combine": {"apply": "input"})"},
    {"glu_gelu_tanh", R"("top_k": 2)", R"("count": 5, "act": "gelu_tanh")", ""},
};

class LayerVariants : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, LayerVariants, testing::ValuesIn(cpuTargets()), targetTestName);

std::string jsonOf(const Variant &variant, const std::string &dtype) {
  return R"({"moec": 1, "name": "variant", "dtype": ")" + dtype +
         R"(", "hidden": 37, "router": {"logit_dtype": "f32", )" + variant.router +
         R"(}, "experts": {"intermediate": 21, )" + variant.experts + "}" + variant.rest + "}";
}

void checkVariant(const Variant &variant, const std::string &dtype, const CpuTarget &target) {
  SCOPED_TRACE(std::string(variant.label) + " " + dtype);
  auto layer = CompiledLayer::make(jsonOf(variant, dtype), target);
  ASSERT_TRUE(layer);
  layer->scale("router.weight", 0.25f); // scores away from 0 and 1
  layer->pack();
  std::vector<float> x = layer->randomX(45);
  CallResult result = layer->run(x, {2});
  EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "");
  EXPECT_TRUE(result.inBounds);
  EXPECT_TRUE(result.sameBits(layer->run(x, {3, Edge::Front, Workspace::Nan})));
}

TEST_P(LayerVariants, variants_f32_agree_with_oracle) {
  for (const Variant &variant : variants)
    checkVariant(variant, "f32", GetParam());
}

TEST_P(LayerVariants, variants_bf16_agree_with_oracle) {
  for (const Variant &variant : variants)
    checkVariant(variant, "bf16", GetParam());
}

// Scores near 1e-9 beside a selection bias of 12: weights come from the scores, not from score + bias - bias.
TEST_P(LayerVariants, bias_f14_choice_bias_stays_out_of_weights) {
  for (double magnitude : {0.0, 0.01, 12.0}) {
    auto layer = CompiledLayer::make(R"({"moec": 1, "name": "biased", "hidden": 9,
      "router": {"score": "sigmoid", "bias": true, "choice_bias": true, "top_k": 3,
                 "normalize": {"kind": "sum", "eps": 1e-20}},
      "experts": {"count": 8, "intermediate": 5}})",
                                     GetParam());
    ASSERT_TRUE(layer);
    layer->fill("router.bias", -20.0f);
    std::vector<float> bias;
    for (int e = 0; e < 8; ++e)
      bias.push_back(float(magnitude) * (e % 2 ? 1.0f : -1.0f) * (1.0f + 0.03f * float(e)));
    layer->set("router.choice_bias", bias);
    layer->pack();
    std::vector<float> x = layer->randomX(20);
    CallResult result = layer->run(x);
    OracleAnswer expected = layer->oracle(x);
    if (magnitude == 0) { // margins of scores around 1e-9 are relative, so ids are clear here as well
      EXPECT_EQ(disagreement(layer->spec, result, expected), "") << magnitude;
      continue;
    }
    for (size_t i = 0; i < result.ids.size(); ++i) {
      ASSERT_EQ(result.ids[i], expected.ids[i]) << magnitude << " at " << i;
      ASSERT_NEAR(result.weights[i], expected.weights[i], 2e-5) << magnitude << " at " << i;
    }
  }
}

// Weights zero, biases not: y = sum_j w_j b[id_j], each bias once and weighted.
TEST_P(LayerVariants, bias_f35_only_biases) {
  auto layer = CompiledLayer::make(R"({"moec": 1, "name": "bias_only", "hidden": 9,
    "router": {"top_k": 3, "scale": 0.5}, "experts": {"count": 6, "intermediate": 5, "bias": {"out": true}}})",
                                   GetParam());
  ASSERT_TRUE(layer);
  for (const char *role : {"experts.gate", "experts.up", "experts.down"})
    layer->fill(role, 0);
  layer->pack();
  std::vector<float> x = layer->randomX(25);
  CallResult result = layer->run(x);
  EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "");
  const std::vector<float> &bias = layer->tensor("experts.down_bias");
  for (int t = 0; t < 25; ++t)
    for (int i = 0; i < 9; ++i) {
      double sum = 0;
      for (int j = 0; j < 3; ++j)
        sum += double(result.weights[t * 3 + j]) * bias[result.ids[t * 3 + j] * 9 + i];
      ASSERT_NEAR(result.y[t * 9 + i], sum, 1e-6) << "token " << t << " column " << i;
    }
}

} // namespace
} // namespace moec
