// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Refusals, warnings and options of the families of more_published_configs.json; what they import is ImportTest.cpp.

#include "ImportedConfigs.h"

using namespace moec;

namespace {

struct Changed {
  const char *label, *model, *keys, *message;
};
void PrintTo(const Changed &changed, std::ostream *os) { *os << changed.label; }

class RefusedMore : public testing::TestWithParam<Changed> {};

TEST_P(RefusedMore, is_said) {
  ImportResult result;
  EXPECT_FALSE(import(changed(publishedAs(GetParam().model).config, GetParam().keys), std::nullopt, result));
  ASSERT_FALSE(result.findings.empty());
  bool said = false;
  for (const Diagnostic &finding : result.findings)
    said |= finding.message.find(GetParam().message) != std::string::npos;
  EXPECT_TRUE(said) << result.findings.back().message;
  EXPECT_TRUE(result.spec.empty());
}

const Changed refused[] = {
    {"unsaid_sum", "xverse", R"({"norm_topk_prob": null})", "or do not, and the config does not say which"},
    {"bias_of_llada", "llada", R"({"moe_router_enable_expert_bias": true})", "moe_router_enable_expert_bias is not"},
    {"sigmoid_of_llada", "llada", R"({"moe_router_score_function": "sigmoid"})", "moe_router_score_function is not"},
    {"shared_in_llada", "llada", R"({"shared_expert_intermediate_size": 64})",
     "shared_expert_intermediate_size is not"},
    {"scale_of_llada", "llada", R"({"routed_scaling_factor": 2.0})", "routed_scaling_factor is not"},
    {"dense_minicpm", "minicpm", R"({"num_experts": null})", "no num_experts"},
    {"flag_of_mistral4", "mistral4", R"({"norm_topk_prob": null})", "no norm_topk_prob"},
    {"groups_of_pangu", "pangu", R"({"n_group": 8})", "n_group is not 1"},
    {"softmax_of_alice", "alice", R"({"router_score_function": "softmax"})", "router_score_function is not"},
    {"alice_without_a_bias", "alice", R"({"router_bias_correction": false})", "router_bias_correction is not true"},
    {"limit_of_gigachat", "gigachat", R"({"swiglu_limit": 7.0})", "swiglu_limit is not null"},
    {"gate_of_gigachat", "gigachat", R"({"use_shared_expert_sigmoid": true})", "use_shared_expert_sigmoid is not"},
    {"dense_flint", "flint", R"({"decoder_sparse_step": 50})", "no layer of this config has experts"},
    {"unsaid_sum_of_kolibri", "kolibri", R"({"norm_topk_prob": null})", "no norm_topk_prob"},
    {"no_choices_for_images", "dots3_note_images", R"({"capacity_factor": null})", "no capacity_factor"},
    {"choices_below_1", "dots3_note_images", R"({"capacity_factor": 0})", "at least 1"},
    {"biases_for_images", "dots3_note_images", R"({"mlp_bias": true})", "mlp_bias is not false"},
    {"type_of_iquest", "iquest", R"({"moe_router_dtype": "bf16"})", "moe_router_dtype is not"},
    {"unsaid_sum_of_step3", "step3", R"({"text_config": {"norm_expert_weight": null}})", "no norm_expert_weight"},
    {"dense_nomic", "nomic", R"({"moe_every_n_layers": 0})", "no layer of this config has experts"},
    {"divided_nomic", "nomic", R"({"moe_normalize_expert_weights": 1.0})", "moe_normalize_expert_weights is not"},
    {"experts_choose", "nomic", R"({"expert_choice_router": true})", "expert_choice_router is not"},
    {"shared_in_nomic", "nomic", R"({"num_shared_experts": 1})", "num_shared_experts is not 0"},
    {"shared_in_smallthinker", "smallthinker", R"({"moe_shared_primary_experts": 1})",
     "moe_shared_primary_experts is not"},
    {"method_of_vl2", "deepseek_vl2", R"({"language_config": {"topk_method": "best"}})", "topk_method must be"},
    {"one_bank", "qwen3", R"({"model_type": "interns2_mobius"})", "a bank of experts that several layers share"},
    {"blocks_of_tokens", "qwen3", R"({"model_type": "llada2_moe"})", "for each block of tokens"},
    {"part_of_the_columns", "qwen3", R"({"model_type": "vitpose_backbone"})", "a part of the output's columns"},
};

INSTANTIATE_TEST_SUITE_P(All, RefusedMore, testing::ValuesIn(refused),
                         [](const auto &info) { return std::string(info.param.label); });

TEST(ImportMore, traps_are_said) {
  const std::pair<const char *, const char *> traps[] = {{"param2", "moe_shared_expert_intermediate_size"},
                                                         {"kolibri", "norm_topk_prob"},
                                                         {"iquest", "ffn_out_scale"},
                                                         {"moondream", "model_type"},
                                                         {"smallthinker", "model_type"},
                                                         {"deepseek_vl2_tiny", "routed_scaling_factor"},
                                                         {"privacy_filter", "swiglu_limit"},
                                                         {"beam", "n_group"}};
  for (auto [label, key] : traps)
    expectTrap(label, key);
  ImportResult result;
  ASSERT_TRUE(import(publishedAs("smallthinker_with_softmax").config, std::nullopt, result));
  EXPECT_FALSE(findingOf(result, "W-QUIRK"));
}

// Keys that change the layer and that the published config has at their usual value.
TEST(ImportMore, keys_change_the_layer) {
  ImportResult result;
  ASSERT_TRUE(
      import(changed(publishedAs("sarvam").config, R"({"moe_router_enable_expert_bias": false, "router_dtype": "bf16",
                 "moe_shared_expert_intermediate_size": 512, "num_shared_experts": 3, "n_group": 4, "topk_group": 2})"),
             std::nullopt, result));
  LayerSpec spec = specOf(result.spec);
  EXPECT_FALSE(spec.router.choiceBias);
  EXPECT_EQ(spec.router.logitDType, LogitDType::Activation);
  EXPECT_EQ(spec.shared->intermediate, 3 * 512);
  EXPECT_EQ(spec.router.groups->masked, GroupMasked::Zero);
  ASSERT_TRUE(
      import(changed(publishedAs("param2").config, R"({"moe_shared_expert_intermediate_size": null})"), 1, result));
  EXPECT_EQ(specOf(result.spec).shared->intermediate, 2 * 2048);
  ASSERT_TRUE(import(changed(publishedAs("beam").config, R"({"norm_topk_prob": false})"), 3, result));
  EXPECT_EQ(specOf(result.spec).router.normalize.kind, NormalizeKind::None);
  std::string large = changed(publishedAs("mistral_large4").config, R"({"text_config": {"norm_topk_prob": false}})");
  ASSERT_TRUE(import(large, 1, result));
  EXPECT_EQ(findingOf(result, "W-QUIRK")->path, "norm_topk_prob"); // its code divides whatever the config says
  ASSERT_TRUE(import(changed(publishedAs("llada").config, R"({"norm_topk_prob": true})"), 0, result));
  EXPECT_EQ(specOf(result.spec).router.normalize.kind, NormalizeKind::None); // and this one never does
  ASSERT_TRUE(findingOf(result, "W-QUIRK"));
}

// Layers of one encoder have more and more experts, and the last ones as many choices as the config says.
TEST(ImportMore, experts_of_an_encoder_grow) {
  std::vector<LayerGroup> groups;
  std::vector<Diagnostic> findings;
  std::string config =
      changed(publishedAs("dots3_note_images").config, R"({"num_hidden_layers": 42, "capacity_factor": 6})");
  ASSERT_TRUE(importLayers(config, {}, groups, findings));
  ASSERT_EQ(groups.size(), 17u);
  EXPECT_FALSE(groups[0].hasExperts);
  EXPECT_EQ(specOf(groups[1].import.spec).choices(), 4);
  EXPECT_EQ(specOf(groups[2].import.spec).choices(), 6);
  EXPECT_EQ(specOf(groups[16].import.spec).experts.count, 64);
  EXPECT_EQ(groups[16].layers, (std::vector<int64_t>{40, 41}));
}

TEST(ImportMore, names_within_known_models) {
  struct Within {
    const char *inner, *outer, *key, *prefix;
  };
  for (const Within &within :
       {Within{"mistral4", R"({"model_type": "mistral3"})", "text_config", "model.language_model.layers.0."},
        Within{"qwen3", R"({"model_type": "internvl_chat"})", "llm_config", "language_model.model.layers.0."},
        Within{"qwen3", R"({"model_type": "interns1"})", "text_config", "model.language_model.layers.0."},
        Within{"dots3_note", R"({"model_type": "dots3_note"})", "text_config", "model.layers.1."},
        Within{"deepseek_v2_lite", R"({"model_type": "deepseek_ocr2"})", "text_config", "model.layers.1."},
        Within{"nemotron", R"({"model_type": "NemotronH_Nano_VL_V2"})", "llm_config",
               "language_model.backbone.layers."},
        Within{"nemotron", R"({"model_type": "any", "architectures": ["NemotronH_Omni_Reasoning_V3"]})", "llm_config",
               "language_model.backbone.layers."},
        Within{"deepseek_v2_lite", R"({"model_type": "deepseek_vl_v2", "architectures": ["UnlimitedOCRForCausalLM"]})",
               "language_config", "model.layers.1."}}) {
    nlohmann::json config = nlohmann::json::parse(within.outer);
    config[within.key] = nlohmann::json::parse(publishedAs(within.inner).config);
    ImportResult result;
    ASSERT_TRUE(import(config.dump(), std::nullopt, result)) << within.outer;
    EXPECT_FALSE(findingOf(result, "W-IMPORT-PREFIX")) << within.outer;
    EXPECT_EQ(result.prefix.rfind(within.prefix, 0), 0u) << result.prefix;
  }
}

TEST(ImportMore, inner_model_is_chosen) {
  nlohmann::json config = {
      {"model_type", "qwen3_omni_moe"},
      {"thinker_config", {{"text_config", nlohmann::json::parse(changed(qwen3Config, R"({"hidden_size": 96})"))}}},
      {"talker_config", {{"text_config", nlohmann::json::parse(publishedAs("qwen3_omni_talker").config)}}}};
  ImportOptions options;
  ImportResult result;
  ASSERT_TRUE(importConfig(config.dump(), options, result));
  EXPECT_EQ(result.prefix, "thinker.model.layers.0.");
  options.inner = "talker_config.text_config";
  ASSERT_TRUE(importConfig(config.dump(), options, result));
  EXPECT_EQ(result.prefix, "talker.model.layers.0.");
  EXPECT_EQ(specOf(result.spec).hidden, 1024);
  std::vector<LayerGroup> groups;
  std::vector<Diagnostic> findings;
  ASSERT_TRUE(importLayers(config.dump(), options, groups, findings));
  EXPECT_EQ(groups[0].layers.size(), 20u);
  options.inner = "thinker_config.text_config"; // the text model by its own key
  ASSERT_TRUE(importConfig(config.dump(), options, result));
  EXPECT_EQ(result.prefix, "thinker.model.layers.0.");
  config["other"] = config["talker_config"]["text_config"]; // names under a key that is not known are not guessed
  options.inner = "other";
  ASSERT_TRUE(importConfig(config.dump(), options, result));
  EXPECT_TRUE(findingOf(result, "W-IMPORT-PREFIX"));
  options.inner = "vision_config";
  nlohmann::json dots = {{"model_type", "dots3_note"},
                         {"vision_config", nlohmann::json::parse(publishedAs("dots3_note_images").config)}};
  ASSERT_TRUE(importConfig(dots.dump(), options, result));
  EXPECT_EQ(result.prefix, "vision_encoder.blocks.25.");
  for (const char *none : {"talker_config.codec", "model_type", ".", "talker_config.text_config.model_type"}) {
    options.inner = none;
    EXPECT_FALSE(importConfig(config.dump(), options, result)) << none;
    EXPECT_EQ(findingOf(result, "E-IMPORT-KEY")->path, "inner");
    EXPECT_FALSE(importLayers(config.dump(), options, groups, findings)) << none;
  }
  // The type of the model around it does not stand in for one that is missing.
  options.inner = "talker_config";
  EXPECT_FALSE(importConfig(config.dump(), options, result));
  EXPECT_EQ(findingOf(result, "E-IMPORT-KEY")->path, "model_type");
}

} // namespace
