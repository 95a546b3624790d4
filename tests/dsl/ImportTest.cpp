// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Configs with published values -> specs; where there is a preset of the same layer, it is that preset.

#include "ImportedConfigs.h"

#include "dsl/Presets.h"
#include "dsl/spec/SpecPrinter.h"

#include <set>

using namespace moec;

namespace {

class PublishedConfig : public testing::TestWithParam<Published> {};

TEST_P(PublishedConfig, is_its_layer) {
  const nlohmann::json &entry = GetParam().entry;
  ImportResult result;
  ASSERT_TRUE(import(GetParam().config, std::nullopt, result))
      << (result.findings.empty() ? "" : result.findings.back().message);
  EXPECT_EQ(result.layer, GetParam().layer);
  for (const Diagnostic &finding : result.findings)
    EXPECT_NE(finding.code, "W-IMPORT-KEY") << finding.message; // every published key was read
  LayerSpec spec = specOf(result.spec),
            wanted = specOf(entry.contains("preset") ? presetText(entry["preset"].get<std::string>()).value()
                                                     : entry["spec"].dump());
  wanted.name = spec.name;
  EXPECT_EQ(printSpec(spec), printSpec(wanted));
  if (entry.contains("prefix"))
    EXPECT_EQ(result.prefix, entry["prefix"].get<std::string>());
  for (const ImportedValue &value : result.mapping)
    EXPECT_FALSE(value.key.empty() || value.value.empty() || value.source.empty()) << value.key;
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfig, testing::ValuesIn(publishedConfigs()),
                         [](const auto &info) { return info.param.label; });

TEST(Import, every_model_type_has_a_published_config) {
  std::set<std::string> seen;
  for (const Published &published : publishedConfigs()) {
    const nlohmann::json &config = published.entry["config"];
    seen.insert(config["model_type"]);
    for (const char *inside : {"/text_config/model_type", "/thinker_config/text_config/model_type"})
      seen.insert(config.value(nlohmann::json::json_pointer(inside), ""));
  }
  std::set<std::string> sameAsAnother = {"klear",
                                         "Klear",
                                         "mellum",
                                         "sdar_moe",
                                         "granitemoe_swa",
                                         "longcat_flash_ngram",
                                         "longcat_flash_sparse",
                                         "xverse_moe",
                                         "xllm",
                                         "llada_moe",
                                         "diffusion_gemma_text",
                                         "ernie4_5_vl_moe",
                                         "ernie4_5_vl_moe_text",
                                         "bailing_hybrid",
                                         "bailing_moe_linear",
                                         "deepseek_ocr2_text",
                                         "unlimited_ocr_text",
                                         "inkling2_loop_text"};
  for (const std::string &model : importableModels())
    EXPECT_TRUE(seen.count(model) || sameAsAnother.count(model)) << model;
}

// Models with the layer, the keys and the names of another.
TEST(Import, kin_have_the_same_layer) {
  const std::pair<const char *, const char *> kin[] = {{"mellum", "qwen3"},
                                                       {"sdar_moe", "qwen3"},
                                                       {"granitemoe_swa", "granitemoe"},
                                                       {"bailing_hybrid", "bailing"},
                                                       {"bailing_moe_linear", "bailing"},
                                                       {"longcat_flash_ngram", "longcat"},
                                                       {"longcat_flash_sparse", "longcat"},
                                                       {"xverse_moe", "xverse"},
                                                       {"xllm", "k2_horizon"},
                                                       {"llada_moe", "llada"},
                                                       {"deepseek_ocr2_text", "deepseek_v2_lite"},
                                                       {"unlimited_ocr_text", "deepseek_v2_lite"}};
  for (auto [model, label] : kin) {
    ImportResult first, second;
    nlohmann::json config = nlohmann::json::parse(publishedAs(label).config);
    ASSERT_TRUE(import(config.dump(), std::nullopt, first)) << label;
    config["model_type"] = model;
    ASSERT_TRUE(import(config.dump(), std::nullopt, second)) << model;
    EXPECT_EQ(first.spec, second.spec) << model;
    EXPECT_EQ(first.prefix, second.prefix) << model;
  }
}

TEST(Import, missing_key_is_named) {
  ImportResult result;
  EXPECT_FALSE(import(changed(qwen3Config, R"({"norm_topk_prob": null})"), std::nullopt, result));
  const Diagnostic *finding = findingOf(result, "E-IMPORT-KEY");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->message, "the config has no norm_topk_prob, which router.normalize of a qwen3_moe layer needs");
  EXPECT_TRUE(result.spec.empty());
}

struct Refused {
  const char *label, *model, *keys, *code, *message;
};
void PrintTo(const Refused &refused, std::ostream *os) { *os << refused.label; }

class RefusedConfig : public testing::TestWithParam<Refused> {};

// A published config with one key changed or removed.
TEST_P(RefusedConfig, is_said) {
  ImportResult result;
  EXPECT_FALSE(import(changed(publishedAs(GetParam().model).config, GetParam().keys), std::nullopt, result));
  const Diagnostic *finding = findingOf(result, GetParam().code);
  ASSERT_TRUE(finding) << (result.findings.empty() ? "nothing was found" : result.findings.back().message);
  EXPECT_NE(finding->message.find(GetParam().message), std::string::npos) << finding->message;
  EXPECT_TRUE(result.spec.empty());
}

const Refused refused[] = {
    {"no_width", "mixtral", R"({"intermediate_size": null})", "E-IMPORT-KEY", "no intermediate_size"},
    {"no_experts", "olmoe", R"({"num_experts": null})", "E-IMPORT-KEY", "no num_experts"},
    {"no_choices", "jamba", R"({"num_experts_per_tok": null})", "E-IMPORT-KEY", "no num_experts_per_tok"},
    {"no_method", "deepseek_v2", R"({"topk_method": null})", "E-IMPORT-KEY", "no topk_method"},
    {"no_scale", "deepseek_v3", R"({"routed_scaling_factor": null})", "E-IMPORT-KEY", "no routed_scaling_factor"},
    {"no_shared_experts", "deepseek_v3", R"({"n_shared_experts": null})", "E-IMPORT-KEY", "no n_shared_experts"},
    {"kept_groups_missing", "deepseek_v3", R"({"topk_group": null})", "E-IMPORT-KEY", "no topk_group"},
    {"unknown_score", "deepseek_v3", R"({"scoring_func": "tanh"})", "E-IMPORT-KEY", "scoring_func must be"},
    {"unknown_method", "deepseek_v3", R"({"topk_method": "random"})", "E-IMPORT-KEY", "topk_method must be"},
    {"no_flag", "dots1", R"({"norm_topk_prob": null})", "E-IMPORT-KEY", "no norm_topk_prob"},
    {"flag_is_a_number", "qwen3", R"({"norm_topk_prob": 1})", "E-IMPORT-KEY", "must be true or false"},
    {"no_bias_flag", "lfm2", R"({"use_expert_bias": null})", "E-IMPORT-KEY", "no use_expert_bias"},
    {"no_margin", "phi", R"({"router_jitter_noise": null})", "E-IMPORT-KEY", "no router_jitter_noise"},
    {"three_choices", "phi", R"({"num_experts_per_tok": 3})", "E-IMPORT-KEY", "num_experts_per_tok is not 2"},
    {"no_residual_flag", "arctic", R"({"use_residual": null})", "E-IMPORT-KEY", "no use_residual"},
    {"two_counts", "exaone", R"({"n_routed_experts": 64})", "E-IMPORT-KEY",
     "num_experts (128) and n_routed_experts (64) contradict each other"},
    {"two_widths", "hunyuan", R"({"moe_intermediate_size": 1024})", "E-IMPORT-KEY", "contradict each other"},
    {"biased_shared_experts", "aria", R"({"text_config": {"mlp_bias": true}})", "E-IMPORT-KEY",
     "mlp_bias is not false"},
    {"biased_experts", "ernie", R"({"use_bias": true})", "E-IMPORT-KEY", "use_bias is not false"},
    {"divided_weights", "longcat", R"({"norm_topk_prob": true})", "E-IMPORT-KEY", "norm_topk_prob is not false"},
    {"zero_experts_missing", "longcat", R"({"zero_expert_num": null})", "E-IMPORT-KEY", "no zero_expert_num"},
    {"zero_experts_of_a_kind", "longcat", R"({"zero_expert_type": "copy"})", "E-IMPORT-KEY", "zero_expert_type"},
    {"no_dropout", "nllb", R"({"moe_token_dropout": null})", "E-IMPORT-KEY", "no moe_token_dropout"},
    {"second_by_chance", "nllb", R"({"second_expert_policy": "sampling"})", "E-IMPORT-KEY",
     "second_expert_policy is not"},
    {"no_shared_width", "nemotron", R"({"moe_shared_expert_intermediate_size": null})", "E-IMPORT-KEY",
     "no moe_shared_expert"},
    {"no_eps", "gemma4", R"({"text_config": {"rms_norm_eps": null}})", "E-IMPORT-KEY", "no rms_norm_eps"},
    {"no_moe_block", "gemma4", R"({"text_config": {"enable_moe_block": false}})", "E-IMPORT-LAYER", "no experts"},
    {"no_experts_at_all", "granitemoehybrid", R"({"num_local_experts": 0})", "E-IMPORT-LAYER", "no experts"},
    {"only_dense_layers", "qwen3", R"({"decoder_sparse_step": 49})", "E-IMPORT-LAYER", "no layer"},
    {"fp8", "deepseek_v3", R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})",
     "E-UNSUPPORTED", "fp8"},
    {"mxfp4", "gpt_oss", R"({"quantization_config": {"quant_method": "mxfp4"}})", "E-UNSUPPORTED", "mxfp4"},
    {"gptq", "mixtral", R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})", "E-UNSUPPORTED", "gptq"},
    {"awq", "qwen3", R"({"quantization_config": {"quant_method": "awq"}})", "E-UNSUPPORTED", "awq"},
    {"compressed", "qwen3", R"({"quantization_config": {"quant_method": "compressed-tensors"}})", "E-UNSUPPORTED",
     "compressed-tensors"},
    {"quantised_around", "llama4", R"({"quantization_config": {"quant_method": "fp8"}})", "E-UNSUPPORTED", "fp8"},
    {"modelopt", "qwen3", R"({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}})",
     "E-UNSUPPORTED", "modelopt NVFP4"},
    {"mlx", "lfm2", R"({"quantization": {"group_size": 64, "bits": 4}})", "E-UNSUPPORTED", "4 bits"},
    {"older_compressed", "qwen3", R"({"compression_config": {"quant_method": "compressed-tensors"}})", "E-UNSUPPORTED",
     "compressed-tensors"},
    {"type_of_experts", "deepseek_v4", R"({"expert_dtype": "fp4"})", "E-UNSUPPORTED", "(fp4)"},
    {"two_quantised_types", "deepseek_v4", R"({"expert_dtype": "fp4", "quantization_config": {"quant_method": "fp8"}})",
     "E-UNSUPPORTED", "fp8, experts fp4"},
    {"no_tables_named", "deepseek_v4", R"({"num_hash_layers": null})", "E-IMPORT-KEY", "no num_hash_layers"},
    {"two_kinds_of_layer", "deepseek_v4", R"({"mlp_layer_types": ["moe"]})", "E-IMPORT-KEY", "contradict each other"},
    {"two_names_of_one_count", "qwen3", R"({"num_local_experts": 64})", "E-IMPORT-KEY",
     "num_experts (128) and num_local_experts (64) contradict each other"},
    {"dense_jamba", "jamba", R"({"num_experts": 1})", "E-IMPORT-LAYER", "no experts"},
    {"no_experts_in_qwen", "qwen3", R"({"num_experts": 0})", "E-IMPORT-LAYER", "no experts"},
    {"type_of_eight_bytes", "qwen3", R"({"torch_dtype": "float64"})", "E-IMPORT-KEY", "float64"},
    {"type_of_router", "bailing_with_f32_router", R"({"router_dtype": "fp8"})", "E-IMPORT-KEY", "router_dtype must be"},
    {"groups_of_axk2", "axk2", R"({"n_group": 4})", "E-IMPORT-KEY", "n_group is not 1"},
    {"latent_norm_without_eps", "kimi_k3", R"({"text_config": {"rms_norm_eps": null}})", "E-IMPORT-KEY",
     "no rms_norm_eps, which experts.latent.norm_out.eps"},
    {"caps_of_another_family", "qwen3", R"({"hidden_act": "situ"})", "E-IMPORT-KEY", "situ"},
    {"no_cap", "inkling2", R"({"text_config": {"mlp_up_softcap": null}})", "E-IMPORT-KEY", "no mlp_up_softcap"},
    {"no_factor_of_logits", "muse_spark", R"({"text_config": {"output_multiplier": null}})", "E-IMPORT-KEY",
     "output_multiplier"},
    {"no_limit", "minimax_m3", R"({"swiglu_limit": null})", "E-IMPORT-KEY", "no swiglu_limit"},
    {"another_activation", "minimax_m3", R"({"hidden_act": "gelu"})", "E-IMPORT-KEY", "neither swigluoai nor silu"},
    {"several_shared_blocks", "minimax_m3", R"({"n_shared_experts": 2})", "E-IMPORT-KEY", "n_shared_experts is not 1"},
    {"no_strategy", "cohere2", R"({"shared_expert_combination_strategy": null})", "E-IMPORT-KEY",
     "no shared_expert_comb"},
    {"no_selection", "cohere2", R"({"expert_selection_fn": null})", "E-IMPORT-KEY", "no expert_selection_fn"},
    {"norm_of_output", "axk1", R"({"rms_norm_eps": null})", "E-IMPORT-KEY",
     "no rms_norm_eps, which combine.norm_out.eps"},
    {"adjugate_experts", "qwen3", R"({"model_type": "grove_moe"})", "E-UNSUPPORTED", "a second set of experts"},
    {"limit_that_is_no_number", "step", R"({"swiglu_limits_shared": [1, 1, 1, "x", 1]})", "E-IMPORT-KEY",
     "swiglu_limits_shared must be a number"},
    {"dense_doge", "doge", R"({"is_moe": false})", "E-IMPORT-LAYER", "no experts"},
    {"biases_of_doge", "doge", R"({"mlp_bias": true})", "E-IMPORT-KEY", "mlp_bias is not false"},
    {"unequal_kinds", "ernie_vl", R"({"moe_num_experts": [4, 2]})", "E-UNSUPPORTED", "numbers of experts for text"},
    {"three_kinds", "ernie_vl", R"({"moe_intermediate_size": [6, 2, 2]})", "E-IMPORT-KEY", "one for text and one for"},
    {"no_kinds", "ernie_vl", R"({"moe_num_experts": null})", "E-IMPORT-KEY", "no moe_num_experts"},
    {"unknown_shared", "ernie_vl", R"({"moe_num_shared_experts": "2"})", "E-IMPORT-KEY", "moe_num_shared_experts"},
    {"gate_of_inkling", "inkling", R"({"text_config": {"gate_activation": "softmax"}})", "E-IMPORT-KEY",
     "gate_activation is not"},
    {"no_sink_of_inkling", "inkling", R"({"text_config": {"n_shared_experts": 0}})", "E-IMPORT-KEY",
     "n_shared_experts"},
    {"shared_of_pangu", "pangu_pro", R"({"shared_expert_intermediate_size": null})", "E-IMPORT-KEY",
     "no shared_expert_intermediate_size"},
};

INSTANTIATE_TEST_SUITE_P(All, RefusedConfig, testing::ValuesIn(refused),
                         [](const auto &info) { return std::string(info.param.label); });

// Traps of the published code are said; what is chosen stands in the spec.
TEST(Import, traps_are_said) {
  const std::pair<const char *, const char *> traps[] = {{"deepseek_v3", "n_group"},
                                                         {"dbrx", "ffn_config"},
                                                         {"gpt_oss", "swiglu_limit"},
                                                         {"phi", "router_jitter_noise"},
                                                         {"longcat", "router_bias"},
                                                         {"nllb", "expert_capacity"},
                                                         {"switch", "expert_capacity"},
                                                         {"qwen2", "norm_topk_prob"},
                                                         {"grok_1", "num_experts_per_tok"},
                                                         {"mixtral_with_noise", "router_jitter_noise"},
                                                         {"deepseek_v1", "norm_topk_prob"},
                                                         {"deepseek_v2", "norm_topk_prob"},
                                                         {"doge", "num_experts"}};
  for (auto [label, key] : traps)
    expectTrap(label, key);
  ImportResult result;
  ASSERT_TRUE(import(changed(publishedAs("deepseek_v2").config, R"({"norm_topk_prob": true})"), std::nullopt, result));
  ASSERT_TRUE(findingOf(result, "W-QUIRK"));
  EXPECT_EQ(specOf(result.spec).router.scale, 1);
  ASSERT_TRUE(import(publishedAs("mixtral").config, std::nullopt, result));
  EXPECT_TRUE(result.findings.empty());
}

TEST(Import, options_choose_the_form) {
  ImportOptions options;
  ImportResult result;
  options.maskedNegInf = true;
  ASSERT_TRUE(importConfig(publishedAs("deepseek_v3").config, options, result));
  EXPECT_EQ(specOf(result.spec).router.groups->masked, GroupMasked::NegInf);
  options = {};
  options.floatWeights = true;
  ASSERT_TRUE(
      importConfig(changed(publishedAs("gpt_oss").config, R"({"quantization_config": {"quant_method": "mxfp4"}})"),
                   options, result));
  EXPECT_TRUE(result.quantised);
  options = {};
  options.stacked = true;
  ASSERT_TRUE(importConfig(publishedAs("mixtral").config, options, result));
  LayerSpec spec = specOf(result.spec);
  EXPECT_EQ(spec.weights["router.weight"].tensor, "mlp.gate.weight");
  EXPECT_EQ(spec.weights["experts.up"].tensor, "mlp.experts.gate_up_proj");
  ASSERT_TRUE(importConfig(publishedAs("qwen3_vl").config, options, result));
  EXPECT_EQ(specOf(result.spec).weights["experts.down"].axes, AxesKind::OutIn);
  ASSERT_TRUE(importConfig(publishedAs("granitemoe").config, options, result));
  spec = specOf(result.spec);
  EXPECT_EQ(spec.weights["router.weight"].tensor, "block_sparse_moe.router.weight");
  EXPECT_EQ(spec.weights["experts.up"].tensor, "block_sparse_moe.experts.gate_up_proj");
  EXPECT_EQ(spec.weights["experts.down"].tensor, "block_sparse_moe.experts.down_proj");
  EXPECT_FALSE(importConfig(publishedAs("dbrx").config, options, result));
  options = {};
  ASSERT_TRUE(importConfig(publishedAs("qwen3_vl").config, options, result));
  EXPECT_EQ(specOf(result.spec).weights["experts.down"].axes, AxesKind::InOut);
  options.decoder = true;
  ASSERT_TRUE(importConfig(publishedAs("nllb").config, options, result));
  EXPECT_EQ(result.prefix, "model.decoder.layers.3.");
  EXPECT_FALSE(importConfig(publishedAs("mixtral").config, options, result));
}

TEST(Import, losses_are_taken_when_asked_for) {
  ImportOptions options;
  ImportResult result;
  std::string config = changed(publishedAs("deepseek_v2").config, R"({"aux_loss_alpha": 0.001, "seq_aux": true})");
  ASSERT_TRUE(importConfig(config, options, result));
  EXPECT_TRUE(specOf(result.spec).losses.empty());
  options.losses = true;
  ASSERT_TRUE(importConfig(config, options, result));
  LayerSpec spec = specOf(result.spec);
  ASSERT_EQ(spec.losses.size(), 1u);
  EXPECT_EQ(spec.losses[0].coef, 0.001);
  ASSERT_TRUE(importConfig(
      changed(publishedAs("switch").config, R"({"router_aux_loss_coef": 0.02, "router_z_loss_coef": 0.003})"), options,
      result));
  EXPECT_EQ(specOf(result.spec).losses.size(), 2u);
}

TEST(Import, config_that_does_not_say_its_layers_is_taken_with_a_warning) {
  ImportResult result;
  ASSERT_TRUE(
      import(changed(publishedAs("jamba").config, R"({"expert_layer_period": null, "expert_layer_offset": null})"), 4,
             result));
  EXPECT_EQ(result.layer, 4);
  EXPECT_TRUE(findingOf(result, "W-IMPORT-LAYER"));
}

// A config that a class writes in full has keys at their defaults, which say nothing new of the layer.
TEST(Import, keys_that_do_not_concern_the_layer_are_no_reason_to_warn) {
  static const std::pair<const char *, const char *> full[] = {
      {"llama4", R"({"text_config": {"router_jitter_noise": 0.0, "moe_layers": [0]}})"},
      {"minimax_m2", R"({"router_jitter_noise": 0.0})"},
      {"dbrx", R"({"ffn_config": {"moe_loss_weight": 0.01}})"},
      {"switch", R"({"add_router_probs": false})"}};
  for (auto [family, keys] : full) {
    ImportResult result;
    ASSERT_TRUE(import(changed(publishedAs(family).config, keys), std::nullopt, result)) << family;
    EXPECT_FALSE(findingOf(result, "W-IMPORT-KEY")) << family;
  }
}

// A config that is saved again lacks keys that its class does not have.
TEST(Import, key_of_shared_experts_may_be_absent_where_a_class_has_none) {
  nlohmann::json config = nlohmann::json::parse(publishedAs("mimo").config);
  config.erase("n_shared_experts");
  ImportResult result;
  ASSERT_TRUE(import(config.dump(), 1, result));
  EXPECT_FALSE(specOf(result.spec).shared);
}

TEST(Import, unknown_model_gets_a_suggestion) {
  ImportResult result;
  EXPECT_FALSE(import(R"({"model_type": "mixtrall", "hidden_size": 64})", std::nullopt, result));
  const Diagnostic *finding = findingOf(result, "E-IMPORT-MODEL");
  ASSERT_TRUE(finding);
  EXPECT_NE(finding->hint.find("did you mean \"mixtral\"?"), std::string::npos) << finding->hint;
}

TEST(Import, layer_without_experts_is_refused) {
  std::string config = publishedAs("deepseek_v3").config;
  ImportResult result;
  EXPECT_FALSE(import(config, 2, result));
  EXPECT_TRUE(findingOf(result, "E-IMPORT-LAYER"));
  EXPECT_FALSE(import(config, 61, result));
  EXPECT_TRUE(findingOf(result, "E-IMPORT-LAYER"));
  EXPECT_TRUE(import(config, 60, result));
  EXPECT_EQ(result.prefix, "model.layers.60.");
  // A list says it layer by layer.
  EXPECT_FALSE(import(publishedAs("mimo").config, 0, result));
  EXPECT_TRUE(import(publishedAs("mimo").config, 2, result));
}

TEST(Import, layers_of_one_model_may_differ) {
  std::string v4 = publishedAs("deepseek_v4").config, step = publishedAs("step").config;
  ImportResult table, ranked;
  ASSERT_TRUE(import(v4, 2, table));
  ASSERT_TRUE(import(v4, 3, ranked));
  EXPECT_EQ(specOf(table.spec).router.kind, RouterKind::Table);
  EXPECT_EQ(specOf(ranked.spec).router.kind, RouterKind::TokenChoice);
  // The list of a config that is saved again; entries that are no kind of layer are refused.
  std::string again = publishedAs("deepseek_v4_saved_again").config;
  ASSERT_TRUE(import(again, 1, table));
  EXPECT_EQ(specOf(table.spec).router.kind, RouterKind::Table);
  EXPECT_FALSE(import(changed(again, R"({"mlp_layer_types": ["sparse"]})"), 0, table));
  ASSERT_TRUE(import(changed(step, R"({"moe_layers_enum": "2,3"})"), 2, table));
  EXPECT_FALSE(specOf(table.spec).experts.clamp);
  EXPECT_FALSE(specOf(table.spec).shared->clamp);
  ASSERT_TRUE(import(changed(publishedAs("hunyuan").config, R"({"moe_topk": [8, 4]})"), 1, ranked));
  EXPECT_EQ(specOf(ranked.spec).choices(), 4);
}

TEST(Import, garbage_is_an_error) {
  for (
      const char *text :
      {"", "[]", "{", "{\"model_type\": 3}", R"({"model_type": "mixtral", "hidden_size": "x"})",
       R"({"model_type": "mixtral", "hidden_size": -4, "num_local_experts": 1e99})",
       R"({"model_type": "mixtral", "text_config": 7})", R"({"model_type": "dbrx", "ffn_config": []})",
       R"({"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 32, "num_local_experts": 8, "num_experts_per_tok": 2, "hidden_act": "evil\"; code"})"}) {
    ImportResult result;
    EXPECT_FALSE(import(text, std::nullopt, result)) << text;
    EXPECT_FALSE(result.findings.empty()) << text;
    EXPECT_TRUE(result.spec.empty()) << text;
  }
}

// Every value of every published config replaced by every kind of wrong one: an error, or a spec that is a spec's text.
TEST(Import, any_value_may_be_wrong) {
  const nlohmann::json wrong[] = {nullptr,
                                  true,
                                  -1,
                                  0,
                                  7,
                                  int64_t(1) << 40,
                                  UINT64_MAX,
                                  1e300,
                                  -0.5,
                                  "",
                                  "x",
                                  std::string(5000, 'y'),
                                  nlohmann::json::array(),
                                  {1, -2},
                                  {"a", nullptr},
                                  nlohmann::json::object(),
                                  {{"a", 1}}};
  ImportOptions options;
  options.losses = options.floatWeights = true;
  size_t refused = 0, taken = 0;
  for (const Published &published : publishedConfigs()) {
    nlohmann::json flat = published.entry["config"].flatten();
    for (const auto &[path, value] : flat.items())
      for (const nlohmann::json &bad : wrong) {
        nlohmann::json config = published.entry["config"];
        config[nlohmann::json::json_pointer(path)] = bad;
        for (std::optional<int64_t> layer : {std::optional<int64_t>(), std::optional<int64_t>(2)}) {
          ImportResult result;
          options.layer = layer;
          bool good = importConfig(config.dump(), options, result);
          ASSERT_EQ(good, !result.spec.empty()) << published.label << path << bad;
          ++(good ? taken : refused);
          SpecSource source;
          DiagnosticList diagnostics;
          if (good && !readSpec(result.spec, "spec", {}, source, diagnostics))
            ASSERT_TRUE(diagnostics.hasErrors()) << published.label << path << bad;
        }
      }
  }
  EXPECT_GT(refused, 5000u);
  EXPECT_GT(taken, 1000u);
}

TEST(Import, models_are_sorted_and_unique) {
  std::vector<std::string> models = importableModels();
  EXPECT_TRUE(std::is_sorted(models.begin(), models.end()));
  EXPECT_EQ(std::unique(models.begin(), models.end()), models.end());
  EXPECT_GE(models.size(), 40u);
}

} // namespace
