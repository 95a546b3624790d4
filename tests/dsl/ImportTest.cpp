// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Configs with published values -> specs; where there is a preset of the same layer, it is that preset.

#include "dsl/ImportConfig.h"
#include "dsl/Presets.h"
#include "dsl/SpecPrinter.h"
#include "dsl/SpecReader.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace moec;

namespace {

LayerSpec specOf(const std::string &text) {
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(text, "spec", {}, source, diagnostics);
  EXPECT_TRUE(spec) << render(diagnostics, false) << text;
  return spec.value_or(LayerSpec{});
}

struct Published {
  const char *label, *preset, *config; // preset: null where there is none
  int64_t layer;                       // that is found
};

const Published published[] = {
    {"mixtral", "mixtral-8x7b",
     R"({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 32, "router_jitter_noise": 0.0})", 0},
    {"qwen3", "qwen3-30b-a3b",
     R"({"model_type": "qwen3_moe", "hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 48, "decoder_sparse_step": 1, "mlp_only_layers": []})", 0},
    {"qwen3_skips_dense", "qwen3-30b-a3b",
     R"({"model_type": "qwen3_moe", "hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 48, "decoder_sparse_step": 2, "mlp_only_layers": [1]})", 3},
    {"qwen2", "qwen2-57b-a14b",
     R"({"model_type": "qwen2_moe", "hidden_size": 3584, "moe_intermediate_size": 2560, "shared_expert_intermediate_size": 20480, "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": false, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 28})", 0},
    {"olmoe", "olmoe-1b-7b",
     R"({"model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024, "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": false, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 16})", 0},
    {"deepseek_v2", "deepseek-v2",
     R"({"model_type": "deepseek_v2", "hidden_size": 5120, "moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6, "topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3, "routed_scaling_factor": 16.0, "norm_topk_prob": false, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 60, "first_k_dense_replace": 1, "moe_layer_freq": 1})", 1},
    {"deepseek_v2_lite", "deepseek-v2-lite",
     R"({"model_type": "deepseek_v2", "hidden_size": 2048, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "topk_method": "greedy", "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": false, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 27, "first_k_dense_replace": 1})", 1},
    {"deepseek_v3", "deepseek-v3",
     R"({"model_type": "deepseek_v3", "hidden_size": 7168, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5, "norm_topk_prob": true, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 61, "first_k_dense_replace": 3, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})", 3},
    {"kimi_k2", "kimi-k2",
     R"({"model_type": "kimi_k2", "hidden_size": 7168, "moe_intermediate_size": 2048, "n_routed_experts": 384, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.827, "norm_topk_prob": true, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 61, "first_k_dense_replace": 1})", 1},
    {"glm", "glm-4.5",
     R"({"model_type": "glm4_moe", "hidden_size": 5120, "moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.5, "norm_topk_prob": true, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 92, "first_k_dense_replace": 3})", 3},
    {"gpt_oss", "gpt-oss-20b",
     R"({"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_local_experts": 32, "num_experts_per_tok": 4, "hidden_act": "silu", "swiglu_limit": 7.0, "torch_dtype": "bfloat16", "num_hidden_layers": 24})", 0},
    {"llama4", "llama-4-scout",
     R"({"model_type": "llama4", "text_config": {"model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "num_local_experts": 16, "num_experts_per_tok": 1, "hidden_act": "silu", "torch_dtype": "bfloat16", "num_hidden_layers": 48, "interleave_moe_layer_step": 1}})", 0},
    {"switch", "switch-base-128",
     R"({"model_type": "switch_transformers", "d_model": 768, "d_ff": 3072, "num_experts": 128, "dense_act_fn": "relu", "expert_capacity": 64, "router_jitter_noise": 0.0, "torch_dtype": "float32", "num_layers": 12, "num_sparse_encoder_layers": 6})", 1},
    {"minimax_m2", nullptr,
     R"({"model_type": "minimax_m2", "hidden_size": 3072, "intermediate_size": 1536, "num_local_experts": 256, "num_experts_per_tok": 8, "use_routing_bias": true, "hidden_act": "silu", "dtype": "bfloat16", "num_hidden_layers": 62})", 0},
    {"phi", nullptr,
     R"({"model_type": "phimoe", "hidden_size": 4096, "intermediate_size": 6400, "num_local_experts": 16, "num_experts_per_tok": 2, "router_jitter_noise": 0.01, "hidden_act": "silu", "torch_dtype": "bfloat16"})", 0},
    {"arctic", nullptr,
     R"({"model_type": "arctic", "hidden_size": 7168, "intermediate_size": 4864, "num_local_experts": 128, "num_experts_per_tok": 2, "use_residual": true, "parallel_attn_mlp_res": true, "hidden_act": "silu", "num_hidden_layers": 35, "moe_layer_frequency": 2})", 1},
    {"qwen3_next", nullptr,
     R"({"model_type": "qwen3_next", "hidden_size": 2048, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "num_experts": 512, "num_experts_per_tok": 10, "norm_topk_prob": true, "hidden_act": "silu", "num_hidden_layers": 48})", 0},
    {"qwen3_vl", nullptr,
     R"({"model_type": "qwen3_vl_moe", "text_config": {"model_type": "qwen3_vl_moe_text", "hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "hidden_act": "silu", "num_hidden_layers": 48}})", 0},
    {"jamba", nullptr,
     R"({"model_type": "jamba", "hidden_size": 4096, "intermediate_size": 14336, "num_experts": 16, "num_experts_per_tok": 2, "hidden_act": "silu", "num_hidden_layers": 32, "expert_layer_period": 2, "expert_layer_offset": 1})", 1},
    {"dbrx", nullptr,
     R"({"model_type": "dbrx", "d_model": 6144, "n_layers": 40, "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4, "moe_normalize_expert_weights": 1, "ffn_act_fn": {"name": "silu"}}})", 0},
    {"granite", nullptr,
     R"({"model_type": "granitemoeshared", "hidden_size": 1024, "intermediate_size": 512, "shared_intermediate_size": 1024, "num_local_experts": 32, "num_experts_per_tok": 8, "hidden_act": "silu", "num_hidden_layers": 24})", 0},
    {"jetmoe", nullptr,
     R"({"model_type": "jetmoe", "hidden_size": 2048, "intermediate_size": 5632, "num_local_experts": 8, "num_experts_per_tok": 2, "activation_function": "silu", "num_hidden_layers": 24})", 0},
    {"aria", nullptr,
     R"({"model_type": "aria", "text_config": {"model_type": "aria_text", "hidden_size": 2560, "intermediate_size": 1664, "moe_num_experts": 64, "moe_topk": 6, "moe_num_shared_experts": 2, "num_hidden_layers": 28}})", 0},
    {"deepseek_v4", nullptr,
     R"({"model_type": "deepseek_v4", "hidden_size": 4096, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 6, "scoring_func": "sqrtsoftplus", "routed_scaling_factor": 1.5, "swiglu_limit": 10.0, "num_hash_layers": 3, "vocab_size": 129280, "hidden_act": "silu", "num_hidden_layers": 43})", 0},
    {"lfm2", nullptr,
     R"({"model_type": "lfm2_moe", "hidden_size": 2048, "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4, "use_expert_bias": true, "norm_topk_prob": true, "num_dense_layers": 2, "num_hidden_layers": 24})", 2},
    {"afmoe", nullptr,
     R"({"model_type": "afmoe", "hidden_size": 2048, "moe_intermediate_size": 1024, "num_experts": 128, "num_experts_per_tok": 8, "num_shared_experts": 1, "route_scale": 2.826, "hidden_act": "silu", "num_dense_layers": 2, "num_hidden_layers": 32})", 2},
    {"bailing", nullptr,
     R"({"model_type": "bailing_moe_v2", "hidden_size": 2048, "moe_intermediate_size": 512, "num_experts": 256, "num_experts_per_tok": 8, "num_shared_experts": 1, "score_function": "sigmoid", "norm_topk_prob": true, "moe_router_enable_expert_bias": true, "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5, "hidden_act": "silu", "first_k_dense_replace": 1, "num_hidden_layers": 20})", 1},
    {"ernie", nullptr,
     R"({"model_type": "ernie4_5_moe", "hidden_size": 2560, "moe_intermediate_size": 1536, "moe_num_experts": 64, "moe_k": 6, "moe_num_shared_experts": 2, "hidden_act": "silu", "moe_layer_interval": 1, "moe_layer_start_index": 1, "moe_layer_end_index": 27, "num_hidden_layers": 28})", 1},
    {"hunyuan", nullptr,
     R"({"model_type": "hunyuan_v1_moe", "hidden_size": 4096, "intermediate_size": 3072, "moe_intermediate_size": [3072, 3072], "num_experts": 64, "moe_topk": [8, 8], "num_shared_expert": [1, 1], "hidden_act": "silu", "num_hidden_layers": 2})", 0},
    {"longcat", nullptr,
     R"({"model_type": "longcat_flash", "hidden_size": 6144, "expert_ffn_hidden_size": 2048, "n_routed_experts": 512, "zero_expert_num": 256, "zero_expert_type": "identity", "moe_topk": 12, "routed_scaling_factor": 6.0, "router_bias": true, "num_layers": 28})", 0},
    {"nemotron", nullptr,
     R"({"model_type": "nemotron_h", "hidden_size": 2688, "moe_intermediate_size": 1856, "n_routed_experts": 128, "n_shared_experts": 1, "moe_shared_expert_intermediate_size": 3712, "num_experts_per_tok": 6, "norm_topk_prob": true, "routed_scaling_factor": 2.5, "mlp_hidden_act": "relu2", "n_group": 1, "topk_group": 1, "num_hidden_layers": 4, "hybrid_override_pattern": "MEM*"})", 1},
    {"gemma4", nullptr,
     R"({"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", "hidden_size": 2816, "moe_intermediate_size": 704, "num_experts": 128, "top_k_experts": 8, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 30}})", 0},
    {"klear", nullptr,
     R"({"model_type": "Klear", "hidden_size": 2048, "moe_intermediate_size": 896, "num_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1, "norm_topk_prob": true, "hidden_act": "silu", "num_hidden_layers": 32})", 0},
    {"nllb", nullptr,
     R"({"model_type": "nllb-moe", "d_model": 2048, "decoder_ffn_dim": 8192, "num_experts": 128, "activation_function": "relu", "moe_token_dropout": 0.2, "moe_eval_capacity_token_fraction": 1.0, "normalize_router_prob_before_dropping": false, "decoder_layers": 24, "decoder_sparse_step": 4})", 3},
    {"exaone", nullptr,
     R"({"model_type": "exaone_moe", "hidden_size": 6144, "moe_intermediate_size": 2048, "num_experts": 128, "num_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.5, "norm_topk_prob": true, "hidden_act": "silu", "first_k_dense_replace": 1, "num_hidden_layers": 48})", 1},
    {"deepseek_v1", nullptr,
     R"({"model_type": "deepseek", "hidden_size": 2048, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "norm_topk_prob": false, "hidden_act": "silu", "first_k_dense_replace": 1, "num_hidden_layers": 28})", 1},
};

class PublishedConfig : public testing::TestWithParam<Published> {};

TEST_P(PublishedConfig, is_its_preset) {
  ImportResult result;
  ASSERT_TRUE(importConfig(GetParam().config, std::nullopt, "imported", result))
      << (result.findings.empty() ? "" : result.findings.back().message);
  EXPECT_EQ(result.layer, GetParam().layer);
  EXPECT_NE(result.prefix.find(std::to_string(result.layer)), std::string::npos) << result.prefix;
  LayerSpec spec = specOf(result.spec);
  EXPECT_GE(result.mapping.size(), 5u);
  if (!GetParam().preset)
    return;
  LayerSpec preset = specOf(presetText(GetParam().preset).value());
  preset.name = spec.name;
  EXPECT_EQ(printSpec(spec), printSpec(preset));
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfig, testing::ValuesIn(published),
                         [](const auto &info) { return std::string(info.param.label); });

const ImportFinding *findingOf(const ImportResult &result, const std::string &code) {
  auto found = std::find_if(result.findings.begin(), result.findings.end(), [&](const ImportFinding &f) { return f.code == code; });
  return found == result.findings.end() ? nullptr : &*found;
}

TEST(Import, missing_key_is_named) {
  ImportResult result;
  EXPECT_FALSE(importConfig(R"({"model_type": "qwen3_moe", "hidden_size": 64, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2})",
                            std::nullopt, "imported", result));
  const ImportFinding *finding = findingOf(result, "E-IMPORT-KEY");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->message, "the config has no norm_topk_prob, which router.normalize of a qwen3_moe layer needs");
  EXPECT_TRUE(result.spec.empty());
}

TEST(Import, unknown_model_gets_a_suggestion) {
  ImportResult result;
  EXPECT_FALSE(importConfig(R"({"model_type": "mixtrall", "hidden_size": 64})", std::nullopt, "imported", result));
  const ImportFinding *finding = findingOf(result, "E-IMPORT-MODEL");
  ASSERT_TRUE(finding);
  EXPECT_NE(finding->hint.find("did you mean \"mixtral\"?"), std::string::npos) << finding->hint;
}

TEST(Import, layer_without_experts_is_refused) {
  const char *config = published[7].config;
  ImportResult result;
  EXPECT_FALSE(importConfig(config, 2, "imported", result));
  EXPECT_TRUE(findingOf(result, "E-IMPORT-LAYER"));
  EXPECT_FALSE(importConfig(config, 61, "imported", result));
  EXPECT_TRUE(findingOf(result, "E-IMPORT-LAYER"));
  EXPECT_TRUE(importConfig(config, 60, "imported", result));
  EXPECT_EQ(result.prefix, "model.layers.60.");
  EXPECT_TRUE(result.quantised);
  EXPECT_TRUE(findingOf(result, "W-QUIRK"));
}

TEST(Import, layers_of_one_model_may_differ) {
  const Published *v4 = std::find_if(std::begin(published), std::end(published), [](const Published &p) { return std::string(p.label) == "deepseek_v4"; });
  ImportResult table, ranked;
  ASSERT_TRUE(importConfig(v4->config, 2, "imported", table));
  ASSERT_TRUE(importConfig(v4->config, 3, "imported", ranked));
  EXPECT_EQ(specOf(table.spec).router.kind, RouterKind::Table);
  EXPECT_EQ(specOf(ranked.spec).router.kind, RouterKind::TokenChoice);
}

TEST(Import, garbage_is_an_error) {
  for (const char *text : {"", "[]", "{", "{\"model_type\": 3}", R"({"model_type": "mixtral", "hidden_size": "x"})",
                           R"({"model_type": "mixtral", "hidden_size": -4, "num_local_experts": 1e99})",
                           R"({"model_type": "mixtral", "text_config": 7})", R"({"model_type": "dbrx", "ffn_config": []})",
                           R"({"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 32, "num_local_experts": 8, "num_experts_per_tok": 2, "hidden_act": "evil\"; code"})"}) {
    ImportResult result;
    EXPECT_FALSE(importConfig(text, std::nullopt, "imported", result)) << text;
    EXPECT_FALSE(result.findings.empty()) << text;
    EXPECT_TRUE(result.spec.empty()) << text;
  }
}

TEST(Import, models_are_sorted_and_unique) {
  std::vector<std::string> models = importableModels();
  EXPECT_TRUE(std::is_sorted(models.begin(), models.end()));
  EXPECT_EQ(std::unique(models.begin(), models.end()), models.end());
  EXPECT_GE(models.size(), 40u);
}

} // namespace
