// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a config is read: its text, its types, what no rule reads, what stands around and beside it.

#include "ImportedConfigs.h"

using namespace moec;

namespace {

TEST(Import, types_have_many_names) {
  const std::pair<const char *, DataType> names[] = {
      {"torch.float32", DataType::F32}, {"half", DataType::F16}, {"torch.bfloat16", DataType::BF16}};
  for (auto [name, type] : names) {
    ImportResult result;
    nlohmann::json config = nlohmann::json::parse(publishedAs("qwen3").config);
    config["torch_dtype"] = name;
    ASSERT_TRUE(import(config.dump(), std::nullopt, result)) << name;
    EXPECT_EQ(specOf(result.spec).dtype.activation, type) << name;
  }
  ImportOptions options;
  options.dtype = "f32";
  ImportResult result;
  ASSERT_TRUE(importConfig(changed(publishedAs("qwen3").config, R"({"torch_dtype": "float64"})"), options, result));
  EXPECT_EQ(specOf(result.spec).dtype.activation, DataType::F32);
}

TEST(Import, mask_of_groups_is_that_of_the_published_code) {
  ImportResult result;
  ImportOptions options;
  ASSERT_TRUE(importConfig(publishedAs("deepseek_v3").config, options, result));
  EXPECT_EQ(specOf(result.spec).router.groups->masked, GroupMasked::NegInf);
  ASSERT_TRUE(importConfig(publishedAs("deepseek_v2").config, options, result)); // no bias
  EXPECT_EQ(specOf(result.spec).router.groups->masked, GroupMasked::Zero);
  options.maskedNegInf = false;
  ASSERT_TRUE(importConfig(publishedAs("deepseek_v3").config, options, result));
  EXPECT_EQ(specOf(result.spec).router.groups->masked, GroupMasked::Zero);
}

TEST(Import, file_of_a_quantiser_beside_the_config_counts) {
  ImportOptions options;
  ImportResult result;
  options.quantText = R"({"quantization": {"quant_algo": "NVFP4"}})";
  EXPECT_FALSE(importConfig(publishedAs("qwen3").config, options, result));
  ASSERT_TRUE(findingOf(result, "E-UNSUPPORTED"));
  EXPECT_EQ(findingOf(result, "E-UNSUPPORTED")->path, "hf_quant_config.json");
  options.quantText = R"({"quantization": {"quant_algo": null}})";
  EXPECT_TRUE(importConfig(publishedAs("qwen3").config, options, result));
  options.quantText = "{";
  EXPECT_FALSE(importConfig(publishedAs("qwen3").config, options, result));
  EXPECT_TRUE(findingOf(result, "E-JSON"));
}

TEST(Import, key_that_no_rule_reads_is_said) {
  std::string config =
      changed(publishedAs("deepseek_v3").config, R"({"swiglu_limit": 7.0, "output_router_logits": true})");
  ImportOptions options;
  ImportResult result;
  ASSERT_TRUE(importConfig(config, options, result));
  ASSERT_TRUE(findingOf(result, "W-IMPORT-KEY"));
  EXPECT_EQ(findingOf(result, "W-IMPORT-KEY")->path, "swiglu_limit");
  options.strict = true;
  EXPECT_FALSE(importConfig(config, options, result));
  ASSERT_TRUE(findingOf(result, "E-IMPORT-KEY"));
  EXPECT_EQ(findingOf(result, "E-IMPORT-KEY")->path, "swiglu_limit");
  // Also in an object that a rule looks into.
  ASSERT_TRUE(
      import(changed(publishedAs("dbrx").config, R"({"ffn_config": {"moe_weight_parallelism": 1}})"), 0, result));
  ASSERT_TRUE(findingOf(result, "W-IMPORT-KEY"));
  EXPECT_EQ(findingOf(result, "W-IMPORT-KEY")->path, "ffn_config.moe_weight_parallelism");
}

TEST(Import, norm_topk_prob_that_the_code_ignores_is_said) {
  ImportResult result;
  std::string config = publishedAs("qwen3_5").config;
  bool nested = nlohmann::json::parse(config).contains("text_config");
  ASSERT_TRUE(
      import(changed(config, nested ? R"({"text_config": {"norm_topk_prob": false}})" : R"({"norm_topk_prob": false})"),
             std::nullopt, result));
  ASSERT_TRUE(findingOf(result, "W-QUIRK"));
  EXPECT_EQ(findingOf(result, "W-QUIRK")->path, "norm_topk_prob");
}

TEST(Import, unknown_model_around_a_known_one_leaves_the_prefix_open) {
  nlohmann::json inner = nlohmann::json::parse(publishedAs("qwen3").config);
  for (const char *key : {"text_config", "llm_config", "language_config"}) {
    ImportResult result;
    ASSERT_TRUE(import(nlohmann::json{{"model_type", "around"}, {key, inner}}.dump(), std::nullopt, result)) << key;
    EXPECT_TRUE(findingOf(result, "W-IMPORT-PREFIX")) << key;
  }
  ImportResult result;
  ASSERT_TRUE(
      import(nlohmann::json{{"model_type", "qwen3_omni_moe"}, {"thinker_config", {{"text_config", inner}}}}.dump(),
             std::nullopt, result));
  EXPECT_FALSE(findingOf(result, "W-IMPORT-PREFIX"));
  EXPECT_EQ(result.prefix, "thinker.model.layers.0.");
}

TEST(Import, invalid_json_has_a_place) {
  ImportResult result;
  EXPECT_FALSE(import("{\n \"model_type\": \"mixtral\",\n}", std::nullopt, result));
  const Diagnostic *finding = findingOf(result, "E-JSON");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->line, 3u);
  EXPECT_EQ(finding->column, 1u);
  // Words for numbers that are not finite are read, but in no key that a rule reads; in a string they are text.
  std::string text = qwen3Config;
  text.insert(1, R"("limit": [0.0, Infinity, -Infinity, NaN], "note": "a \" NaN",)");
  EXPECT_TRUE(import(text, std::nullopt, result));
  text.replace(text.find("64"), 2, "NaN");
  EXPECT_FALSE(import(text, std::nullopt, result));
  EXPECT_TRUE(findingOf(result, "E-IMPORT-KEY"));
}

TEST(Import, layers_are_grouped) {
  std::vector<LayerGroup> groups;
  std::vector<Diagnostic> findings;
  ASSERT_TRUE(importLayers(publishedAs("deepseek_v3").config, {}, groups, findings));
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_FALSE(groups[0].hasExperts);
  EXPECT_EQ(groups[0].layers, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(groups[1].layers.size(), 58u);
  EXPECT_FALSE(groups[1].import.spec.empty());
  ASSERT_TRUE(importLayers(publishedAs("deepseek_v4").config, {}, groups, findings)); // tables, then a bias
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].layers.size(), 3u);
  EXPECT_TRUE(groups[0].hasExperts && groups[1].hasExperts);
  EXPECT_FALSE(
      importLayers(changed(publishedAs("mixtral").config, R"({"num_hidden_layers": null})"), {}, groups, findings));
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].path, "num_hidden_layers");
}

} // namespace
