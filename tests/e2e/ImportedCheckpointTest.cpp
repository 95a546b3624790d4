// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A checkpoint and its config.json, written from a golden case under the published names, through moec import hf, moec
// compile and moec_weights_load -> the golden outputs. A wrong name stops it, a wrong layout gives other numbers.

#include "ImportedCheckpoint.h"
#include "CheckpointFile.h"

#include "codegen/check/GoldenTensors.h"

#include "codegen/check/GoldenCheck.h"
#include "codegen/check/OracleCheck.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

using namespace moec;
using namespace moec::layouts;

namespace {

const std::string goldenFolder = MOEC_SOURCE_DIR "/tests/golden";

struct Checkpoint {
  std::string label, golden;
  const char *keys;   // merged into the case's own config
  std::string prefix; // before the names of the golden case, or of `layout`
  std::string layout; // where the roles stand, a line each; empty: as in the golden case
  std::string flags;  // of moec import hf
};

void PrintTo(const Checkpoint &checkpoint, std::ostream *os) { *os << checkpoint.label; }

nlohmann::json configOf(const Checkpoint &checkpoint, DataType type) {
  std::ifstream file(goldenFolder + "/" + checkpoint.golden + ".json");
  nlohmann::json entry = nlohmann::json::parse(file), config = entry.value("config", nlohmann::json::object());
  config["torch_dtype"] = type == DataType::BF16 ? "bfloat16" : "float32";
  config.merge_patch(nlohmann::json::parse(checkpoint.keys));
  std::string outer = config.value("outer_model_type", "");
  if (outer.empty())
    return config;
  config.erase("outer_model_type");
  return {{"model_type", outer}, {"text_config", config}};
}

void writeCheckpoint(const Checkpoint &checkpoint, const GoldenCase &golden, const WorkFolder &folder) {
  std::ofstream(folder / "config.json") << configOf(checkpoint, golden.dtype).dump(1);
  CheckpointFile file;
  Result<std::string> bytes = readGoldenFile(goldenFolder + "/" + checkpoint.golden + ".safetensors", size_t(1) << 28);
  ASSERT_TRUE(bytes) << bytes.error().placedMessage();
  Result<GoldenTensorMap> tensors = parseSafetensors(*bytes);
  ASSERT_TRUE(tensors) << tensors.error().message;
  if (!checkpoint.layout.empty())
    ASSERT_NO_FATAL_FAILURE(storeRoles(golden.spec, golden.weights, checkpoint.prefix, checkpoint.layout, file));
  else
    for (const auto &[name, tensor] : *tensors)
      if (name.rfind("w.", 0) == 0)
        file.add(checkpoint.prefix + name.substr(2), tensor);
  file.write(folder / "model.safetensors");
}

// A layer that reads a residual gets x as it: the cases without one were computed so.
void giveResidual(GoldenCase &golden, const LayerSpec &imported) {
  golden.spec.router.input.from = imported.router.input.from;
  for (GoldenBatch &batch : golden.batches)
    if (imported.router.input.from == BranchInput::Residual)
      batch.tensors["residual"] = batch.tensors.at("x");
}

// All batches of the case on folder/layer.json with the weights of folder/model.safetensors. Empty: they agree.
std::string runGolden(GoldenCase &golden, const WorkFolder &folder, const std::string &prefix) {
  std::string reason;
  Package package(folder);
  if (!package.package)
    return package.error;
  giveResidual(golden, specIn(folder));
  LayerRun layer(package.package);
  CheckResult result;
  if (Result<> loaded = layer.load(1, -1, folder / "model.safetensors", prefix); !loaded)
    return loaded.error().message;
  for (const GoldenBatch &batch : golden.batches)
    if (!runBatch(golden, batch, layer, result, reason))
      return "batch " + std::to_string(batch.index) + ": " + reason;
  return "";
}

class ImportedCheckpoint : public testing::TestWithParam<Checkpoint> {};

TEST_P(ImportedCheckpoint, gives_the_golden_outputs) {
  WorkFolder folder;
  std::string error;
  Result<GoldenCase> read = readGoldenCase(goldenFolder, GetParam().golden);
  ASSERT_TRUE(read) << read.error().placedMessage();
  GoldenCase &golden = *read;
  ASSERT_NO_FATAL_FAILURE(writeCheckpoint(GetParam(), golden, folder));
  std::string prefix = importIn(folder, GetParam().flags, error);
  ASSERT_FALSE(prefix.empty()) << error;
  EXPECT_EQ(GetParam().prefix.rfind(prefix, 0), 0u) << prefix;
  EXPECT_EQ(runGolden(golden, folder, prefix), "");
}

// The same with a map that has gate and up in each other's place, and one with a name that the file does not have.
TEST(WrongMap, is_found) {
  WorkFolder folder;
  std::string error;
  Checkpoint checkpoint = {"", "qwen3_moe-f32", "{}", "model.layers.0.mlp.", "", ""};
  Result<GoldenCase> read = readGoldenCase(goldenFolder, checkpoint.golden);
  ASSERT_TRUE(read) << read.error().placedMessage();
  GoldenCase &golden = *read;
  ASSERT_NO_FATAL_FAILURE(writeCheckpoint(checkpoint, golden, folder));
  std::string prefix = importIn(folder, "", error);
  std::ifstream in(folder / "layer.json");
  nlohmann::json right = nlohmann::json::parse(in), swapped = right, misnamed = right;
  std::swap(swapped["weights"]["experts.gate"], swapped["weights"]["experts.up"]);
  misnamed["weights"]["router.weight"]["tensor"] = "mlp.gates.weight";
  for (const nlohmann::json &spec : {swapped, misnamed}) {
    std::filesystem::remove_all(folder.path / "package");
    std::ofstream(folder / "layer.json") << spec.dump(1);
    EXPECT_NE(runGolden(golden, folder, prefix), "");
  }
}

class ReferencedCheckpoint : public testing::TestWithParam<Referenced> {};

TEST_P(ReferencedCheckpoint, gives_the_references_outputs) { checkReferenced(GetParam()); }

// ---- the checkpoints ------------------------------------------------------------------------------------------------

const std::string biased = gate + "router.choice_bias mlp.gate.e_score_correction_bias\n",
                  sparseLayout = mixtralLayout + "router.choice_bias block_sparse_moe.e_score_correction_bias\n";

const std::vector<Checkpoint> &checkpoints() {
  static const std::string layer0 = "model.layers.0.", mlp0 = "model.layers.0.mlp.",
                           sparse = "model.layers.0.block_sparse_moe.";
  static const std::vector<Checkpoint> list = {
      // as the golden case has them: names less the layer's prefix and block
      {"mixtral", "mixtral-f32", R"({"num_hidden_layers": 2})", sparse, "", ""},
      {"mixtral_bf16", "mixtral-bf16", "{}", "model.layers.5.block_sparse_moe.", "", "--layer 5"},
      {"phimoe", "phimoe-f32", "{}", sparse, "", ""},
      {"phimoe_bf16", "phimoe-bf16", "{}", sparse, "", ""},
      {"phimoe_wide", "phimoe_wide-f32", "{}", sparse, "", ""},
      {"qwen2_moe", "qwen2_moe-f32", R"({"decoder_sparse_step": 2, "mlp_only_layers": [1], "num_hidden_layers": 4})",
       "model.layers.3.mlp.", "", ""},
      {"qwen2_moe_bf16", "qwen2_moe-bf16", R"({"decoder_sparse_step": 1})", mlp0, "", ""},
      {"qwen3_moe", "qwen3_moe-f32", R"({"decoder_sparse_step": 1})", mlp0, "", ""},
      {"qwen3_moe_bf16", "qwen3_moe-bf16", R"({"decoder_sparse_step": 1})", mlp0, "", ""},
      {"qwen3_next", "qwen3_next-f32", R"({"decoder_sparse_step": 1})", mlp0, "", ""},
      {"olmoe", "olmoe-f32", "{}", mlp0, "", ""},
      {"olmoe_bf16", "olmoe-bf16", "{}", mlp0, "", ""},
      {"jamba", "jamba-f32", R"({"expert_layer_period": 2, "expert_layer_offset": 1})", "model.layers.1.feed_forward.",
       "", ""},
      {"dbrx", "dbrx-f32", R"({"n_layers": 3})", "transformer.blocks.2.ffn.", "", "--layer 2"},
      {"granitemoe", "granitemoe-f32", "{}", sparse, "", ""},
      {"jetmoe", "jetmoe-f32", "{}", mlp0, "", ""},
      {"aria_text", "aria-f32", "{}", mlp0, "", ""},
      {"aria", "aria-f32", R"({"outer_model_type": "aria"})", "language_model.model.layers.0.mlp.", "", ""},
      {"gpt_oss", "gpt_oss-f32", "{}", mlp0, "", ""},
      {"gpt_oss_bf16", "gpt_oss-bf16", "{}", mlp0, "", ""},
      {"llama4", "llama4-f32", R"({"outer_model_type": "llama4", "interleave_moe_layer_step": 2})",
       "language_model.model.layers.1.feed_forward.", "", ""},
      {"llama4_bf16", "llama4-bf16", R"({"moe_layers": [3]})", "model.layers.3.feed_forward.", "", ""},
      {"llama4_two", "llama4_k2-f32", "{}", "model.layers.0.feed_forward.", "", ""},
      {"deepseek_v2", "deepseek_v2-f32", R"({"first_k_dense_replace": 1})", "model.layers.1.mlp.", "", ""},
      {"deepseek_v2_bf16", "deepseek_v2-bf16", R"({"first_k_dense_replace": 0, "moe_layer_freq": 1})", mlp0, "", ""},
      {"deepseek_v2_lite", "deepseek_v2_lite-f32", R"({"first_k_dense_replace": 0})", mlp0, "", ""},
      {"deepseek_v3", "deepseek_v3-f32", R"({"first_k_dense_replace": 3})", "model.layers.3.mlp.", "", ""},
      {"deepseek_v3_bf16", "deepseek_v3-bf16",
       R"({"first_k_dense_replace": 3, "quantization_config": {"quant_method": "fp8"}})", "model.layers.3.mlp.", "",
       "--float"},
      {"kimi_k2", "kimi_k2-f32", R"({"model_type": "kimi_k2", "first_k_dense_replace": 1})", "model.layers.1.mlp.", "",
       ""},
      {"glm4_moe", "glm4_moe-f32", R"({"first_k_dense_replace": 1})", "model.layers.1.mlp.", "", ""},
      {"glm4_moe_bf16", "glm4_moe-bf16",
       R"({"model_type": "glm_moe_dsa", "mlp_layer_types": ["dense", "dense", "sparse"]})", "model.layers.2.mlp.", "",
       ""},
      {"dots1", "dots1-f32", R"({"first_k_dense_replace": 1})", "model.layers.1.mlp.", "", ""},
      {"ernie4_5_moe", "ernie4_5_moe-f32",
       R"({"moe_layer_start_index": 1, "moe_layer_interval": 1, "moe_layer_end_index": 3})", "model.layers.1.mlp.", "",
       ""},
      {"ernie4_5_moe_bf16", "ernie4_5_moe-bf16", "{}", mlp0, "", ""},
      {"hunyuan", "hunyuan_v1_moe-f32", R"({"moe_topk": [7, 2], "num_shared_expert": [1, 1]})", "model.layers.1.mlp.",
       "", "--layer 1"},
      {"longcat", "longcat_flash-f32", R"({"num_layers": 4})", mlp0, "", ""},
      {"afmoe", "afmoe-f32", R"({"num_dense_layers": 2})", "model.layers.2.mlp.", "", ""},
      {"switch", "switch-f32", R"({"num_layers": 12, "num_sparse_encoder_layers": 6})", "encoder.block.1.layer.1.mlp.",
       "", ""},
      {"switch_decoder_bf16", "switch-bf16",
       R"({"num_layers": 12, "num_decoder_layers": 12, "num_sparse_decoder_layers": 4})",
       "decoder.block.4.layer.2.mlp.", "", "--decoder --layer 4"},
      {"nllb", "nllb_moe-f32", R"({"encoder_sparse_step": 4, "encoder_layers": 24})", "model.encoder.layers.3.ffn.", "",
       ""},
      // stacked after loading
      {"lfm2_stacked", "lfm2_moe-f32", R"({"num_dense_layers": 2})", "model.layers.2.feed_forward.", "", "--stacked"},
      {"minimax_m2_stacked", "minimax_m2-f32", "{}", mlp0, "", "--stacked"},
      {"mixtral_stacked", "mixtral-f32", "{}", layer0,
       gate + halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", ""), "--stacked"},
      // other families of the same computation, and forms the golden cases do not store
      {"lfm2", "lfm2_moe-f32", R"({"num_dense_layers": 0})", layer0,
       "router.weight feed_forward.gate.weight\nrouter.choice_bias feed_forward.expert_bias\n" +
           lines("experts.", "feed_forward.experts.{e}.", w132, "per_expert"),
       ""},
      {"minimax_m2", "minimax_m2-f32", "{}", layer0,
       "router.choice_bias block_sparse_moe.e_score_correction_bias\n" + mixtralLayout, ""},
      {"minimax", "mixtral-f32", R"({"model_type": "minimax"})", layer0, mixtralLayout, ""},
      {"flex_olmo", "olmoe-f32", R"({"model_type": "flex_olmo"})", layer0, gate + experts, ""},
      {"qwen3_vl", "qwen3_moe-f32",
       R"({"model_type": "qwen3_vl_moe_text", "outer_model_type": "qwen3_vl_moe", "decoder_sparse_step": 1})",
       "model.language_model.layers.0.",
       gate + halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "in_out"), ""},
      {"qwen3_5", "qwen3_next-f32",
       R"({"model_type": "qwen3_5_moe_text", "outer_model_type": "qwen3_5_moe", "norm_topk_prob": null})",
       "model.language_model.layers.0.",
       gate + halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "") + sharedGated, ""},
      {"granitemoeshared", "aria-f32",
       R"({"model_type": "granitemoeshared", "num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 48})",
       layer0,
       "router.weight block_sparse_moe.router.layer.weight\n" +
           halves("experts.", "block_sparse_moe.input_linear.weight", "block_sparse_moe.output_linear.weight", "") +
           halves("shared.", "shared_mlp.input_linear.weight", "shared_mlp.output_linear.weight", ""),
       ""},
      {"deepseek_v1", "deepseek_v2_lite-f32", R"({"model_type": "deepseek", "first_k_dense_replace": 0})", layer0,
       gate + experts + shared, ""},
      {"solar", "deepseek_v3-f32", R"({"model_type": "solar_open", "first_k_dense_replace": 0})", layer0,
       gate + "router.choice_bias mlp.gate.e_score_correction_bias\n" + experts + shared, ""},
      {"exaone", "deepseek_v3-f32",
       R"({"model_type": "exaone_moe", "num_experts": 16, "num_shared_experts": 2, "first_k_dense_replace": 0})",
       layer0, gate + "router.choice_bias mlp.e_score_correction_bias\n" + experts + shared, ""},
      {"bailing_v2", "deepseek_v3-f32",
       R"({"model_type": "bailing_moe_v2", "num_experts": 16, "num_shared_experts": 2, "score_function": "sigmoid",
                                           "moe_router_enable_expert_bias": true, "first_k_dense_replace": 0})",
       layer0, gate + "router.choice_bias mlp.gate.expert_bias\n" + experts + shared, ""},
      {"mimo", "kimi_k2-f32", R"({"model_type": "mimo_v2_flash", "moe_layer_freq": [0, 1]})", "model.layers.1.",
       gate + "router.choice_bias mlp.gate.e_score_correction_bias\n" + experts + shared, ""},
      {"step3p5", "kimi_k2-f32",
       R"({"model_type": "step3p5", "moe_num_experts": 8, "moe_top_k": 3, "share_expert_dim": 32, "norm_expert_weight": true,
                                    "moe_router_scaling_factor": 2.827, "moe_layers_enum": "3,4", "num_hidden_layers": 5,
                                    "n_shared_experts": 1})",
       "model.layers.3.",
       "router.weight moe.gate.weight\nrouter.choice_bias moe.router_bias\n" + lines("experts.", "moe.", proj, "") +
           lines("shared.", "share_expert.", proj, ""),
       ""},
      {"minimax_m3", "minimax_m3-f32",
       R"({"outer_model_type": "minimax_m3_vl", "use_routing_bias": true, "scoring_func": "sigmoid", "hidden_act": "swigluoai",
           "moe_layer_freq": [0, 1]})",
       "language_model.model.layers.1.", sparseLayout + lines("shared.", "block_sparse_moe.shared_experts.", proj, ""),
       ""},
      {"minimax_m3_bf16", "minimax_m3-bf16", R"({"model_type": "minimax_m3", "moe_layer_freq": [0, 1]})",
       "model.layers.1.", sparseLayout + lines("shared.", "block_sparse_moe.shared_experts.", proj, ""), ""},
      {"glm5_next", "glm5_next-f32",
       R"({"outer_model_type": "glm5_next", "hidden_act": "silu", "mlp_layer_types": ["dense", "sparse"]})",
       "model.language_model.layers.1.", biased + experts + shared, ""},
      {"step3p7", "step3p7-f32",
       R"({"model_type": "step3p5", "hidden_act": "silu", "norm_expert_weight": true, "moe_layers_enum": "1"})",
       "model.layers.1.",
       "router.weight moe.gate.weight\nrouter.choice_bias moe.router_bias\n" + lines("experts.", "moe.", proj, "") +
           lines("shared.", "share_expert.", proj, ""),
       ""},
      {"muse_spark", "muse_spark-f32",
       R"({"outer_model_type": "muse_spark", "hidden_act": "silu", "mlp_layer_types": ["dense", "sparse"]})",
       "model.language_model.layers.1.",
       biased + halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "") +
           "latent.in mlp.pre_expert_proj.weight\nlatent.out mlp.post_expert_proj.weight\n"
           "latent.norm_in_weight mlp.pre_expert_norm.weight\nexperts.norm_weight "
           "mlp.experts.post_expert_norm.weight\n",
       ""},
      {"axk1", "axk1-f32", R"({"hidden_act": "silu", "first_k_dense_replace": 1})", "model.layers.1.",
       biased + experts + shared + "output.norm_weight post_mlp_layernorm.weight\n", ""},
      {"inkling2", "inkling2-f32", R"({"outer_model_type": "inkling2", "hidden_act": "silu"})", "model.llm.layers.0.",
       gate + "router.choice_bias mlp.gate.bias\nexperts.gate mlp.experts.w13_weight even\n"
              "experts.up mlp.experts.w13_weight odd\nexperts.down mlp.experts.w2_weight\n",
       ""},
      // cases computed from formulas
      {"kimi_k3", "kimi_k3",
       R"({"model_type": "kimi_linear", "outer_model_type": "kimi_k3", "hidden_size": 48, "moe_intermediate_size": 16, "num_experts": 8,
           "num_experts_per_token": 3, "num_shared_experts": 2, "num_expert_group": 1, "moe_renormalize": true,
           "moe_router_activation_func": "sigmoid", "routed_scaling_factor": 1.5, "routed_expert_hidden_size": 24,
           "latent_moe_use_norm": true, "hidden_act": "situ", "activation_situ_beta": 0.75, "activation_situ_linear_beta": 1.25,
           "rms_norm_eps": 1e-05, "first_k_dense_replace": 1})",
       "language_model.model.layers.1.",
       "router.weight block_sparse_moe.gate.weight\nrouter.choice_bias block_sparse_moe.gate.e_score_correction_bias\n"
       "latent.in block_sparse_moe.routed_expert_down_proj.weight\nlatent.out "
       "block_sparse_moe.routed_expert_up_proj.weight\nlatent.norm_out_weight "
       "block_sparse_moe.routed_expert_norm.weight\n" +
           lines("experts.", "block_sparse_moe.experts.{e}.", w132, "per_expert") +
           lines("shared.", "block_sparse_moe.shared_experts.", proj, ""),
       ""},
      {"deepseek_v4", "deepseek_v4",
       R"({"model_type": "deepseek_v4", "hidden_size": 32, "moe_intermediate_size": 16, "n_routed_experts": 6, "n_shared_experts": 0,
                                        "num_experts_per_tok": 2, "routed_scaling_factor": 1.5, "scoring_func": "sqrtsoftplus", "swiglu_limit": 2.0,
                                        "num_hash_layers": 3})",
       "layers.3.",
       "router.weight ffn.gate.weight\nrouter.choice_bias ffn.gate.bias\n" +
           lines("experts.", "ffn.experts.{e}.", w132, "per_expert"),
       "--layer 3"},
      {"deepseek_v4_table", "deepseek_v4_table",
       R"({"model_type": "deepseek_v4", "hidden_size": 32, "moe_intermediate_size": 16, "n_routed_experts": 6,
                                                    "n_shared_experts": 0, "num_experts_per_tok": 2, "routed_scaling_factor": 1.5, "swiglu_limit": 2.0,
                                                    "num_hash_layers": 3, "vocab_size": 23})",
       "layers.0.",
       "router.weight ffn.gate.weight\nrouter.table ffn.gate.tid2eid\n" +
           lines("experts.", "ffn.experts.{e}.", w132, "per_expert"),
       ""},
      {"deepseek_v4_images", "token_groups_bias",
       R"({"model_type": "deepseek_v4", "hidden_size": 32, "moe_intermediate_size": 16, "n_routed_experts": 6,
           "n_shared_experts": 0, "num_experts_per_tok": 2, "routed_scaling_factor": 1.5, "swiglu_limit": 1000.0,
           "num_hash_layers": 3, "vision_n_layers": 2})",
       "layers.3.",
       "router.weight ffn.gate.weight\nrouter.group0.choice_bias ffn.gate.bias\n"
       "router.group1.choice_bias ffn.gate.bias_vl\n" +
           lines("experts.", "ffn.experts.{e}.", w132, "per_expert"),
       "--layer 3"},
      {"deepseek_v4_images_table", "token_groups_table",
       R"({"model_type": "deepseek_v4", "hidden_size": 32, "moe_intermediate_size": 16, "n_routed_experts": 6,
           "n_shared_experts": 0, "num_experts_per_tok": 2, "routed_scaling_factor": 1.5, "swiglu_limit": 1000.0,
           "num_hash_layers": 3, "vocab_size": 20, "vision_n_layers": 2})",
       "layers.0.",
       "router.weight ffn.gate.weight\nrouter.table ffn.gate.tid2eid\nrouter.group1.choice_bias ffn.gate.bias_vl\n" +
           lines("experts.", "ffn.experts.{e}.", w132, "per_expert"),
       ""},
      {"inkling", "shared_by_router",
       R"({"model_type": "inkling_text", "outer_model_type": "inkling_mm_model", "hidden_size": 32, "dense_mlp_idx": 1,
           "intermediate_size": 16, "n_routed_experts": 6, "n_shared_experts": 2, "num_experts_per_tok": 2,
           "route_scale": 2.5})",
       "model.llm.layers.1.", "", ""},
      {"ernie_vl", "token_groups_own",
       R"({"model_type": "ernie4_5_moe_vl", "hidden_size": 32, "moe_intermediate_size": [24, 8], "moe_k": 2,
           "moe_num_experts": [6, 6], "moe_num_shared_experts": 2, "hidden_act": "silu", "moe_layer_interval": 1,
           "moe_layer_start_index": [1, 1], "moe_layer_end_index": [9, 8]})",
       "model.layers.1.", "", ""},
      {"interns1_pro", "groups_each",
       R"({"model_type": "interns1_pro_text", "outer_model_type": "interns1_pro", "hidden_size": 32,
           "moe_intermediate_size": 16, "num_experts": 12, "num_experts_per_tok": 6, "router_n_groups": 3,
           "norm_topk_prob": true, "hidden_act": "silu", "decoder_sparse_step": 1})",
       "model.language_model.layers.0.", gate + experts, ""},
      {"nemotron_latent", "nemotron_h_latent",
       R"({"model_type": "nemotron_h", "hidden_size": 32, "moe_intermediate_size": 16, "moe_latent_size": 16,
                                                  "n_routed_experts": 6, "n_shared_experts": 1, "moe_shared_expert_intermediate_size": 32, "num_experts_per_tok": 2,
                                                  "routed_scaling_factor": 2.5, "norm_topk_prob": true, "mlp_hidden_act": "relu2", "hybrid_override_pattern": "ME"})",
       "backbone.layers.1.",
       "router.weight mixer.gate.weight\nrouter.choice_bias mixer.gate.e_score_correction_bias\nlatent.in "
       "mixer.fc1_latent_proj.weight\n"
       "latent.out mixer.fc2_latent_proj.weight\n" +
           lines("experts.", "mixer.experts.{e}.", plainProj, "per_expert") +
           lines("shared.", "mixer.shared_experts.", plainProj, ""),
       ""},
      {"gemma4", "gemma4_router",
       R"({"model_type": "gemma4_text", "outer_model_type": "gemma4", "hidden_size": 32, "moe_intermediate_size": 16, "num_experts": 6,
                                     "top_k_experts": 2, "rms_norm_eps": 1e-06, "hidden_activation": "gelu_pytorch_tanh", "enable_moe_block": true})",
       "model.language_model.layers.0.",
       "router.weight router.proj.weight\nrouter.input_scale router.scale\nrouter.expert_scale "
       "router.per_expert_scale\n" +
           halves("experts.", "experts.gate_up_proj", "experts.down_proj", ""),
       ""},
      {"klear", "klear_softmax2",
       R"({"model_type": "Klear", "hidden_size": 32, "moe_intermediate_size": 16, "num_experts": 6, "num_experts_per_tok": 2,
                                     "n_shared_experts": 1, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": []})",
       layer0,
       gate +
           "router.choice_bias mlp.expert_bias\nshared.gate_weight mlp.coefficient.weight\nshared.gate_bias "
           "mlp.coefficient.bias\n" +
           experts + shared,
       ""},
  };
  return list;
}

const Referenced referenced[] = {
    {"grok_1",
     R"({"model_type": "grok-1", "emb_size": 48, "intermediate_size": 40, "num_experts": 4, "num_selected_experts": 2, "dtype": "float32"})",
     "transformer/decoder_layer_0/",
     "router.weight router/w in_out\nexperts.gate moe/linear/w in_out\nexperts.up moe/linear_v/w in_out\n"
     "experts.down moe/linear_1/w in_out\n",
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"logit_dtype": "f32", "top_k": 2},
         "experts": {"count": 4, "intermediate": 40, "act": "gelu_tanh"}})"},
    {"grok_2",
     R"({"model_type": "grok", "hidden_size": 48, "moe_intermediate_size": 40, "num_local_experts": 4, "num_experts_per_tok": 2,
                  "router_logit_softcapping": 0.5, "torch_dtype": "float32"})",
     "model.layers.0.", mixtralLayout,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"logit_dtype": "f32", "top_k": 2, "transform": [{"op": "softcap", "cap": 0.5}]},
         "experts": {"count": 4, "intermediate": 40, "act": "gelu_tanh"}})"},
    {"arctic",
     R"({"model_type": "arctic", "hidden_size": 48, "intermediate_size": 40, "num_local_experts": 4, "num_experts_per_tok": 2, "use_residual": true,
                  "moe_layer_frequency": 2, "torch_dtype": "float32"})",
     "model.layers.1.", mixtralLayout + lines("shared.", "residual_mlp.", w132, ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"top_k": 2, "normalize": {"kind": "sum"}},
         "experts": {"count": 4, "intermediate": 40}, "shared": {"intermediate": 48, "input": "residual"}})"},
    {"pangu_pro",
     R"({"model_type": "PanguProMoE", "hidden_size": 48, "moe_intermediate_size": 24, "num_experts": 16, "num_experts_per_tok": 4,
                  "shared_expert_intermediate_size": 40, "hidden_act": "silu", "mlp_only_layers": [0], "num_hidden_layers": 2, "torch_dtype": "float32"})",
     "model.layers.1.",
     gate + "router.expert_scale mlp.router_scale\n" + experts + lines("shared.", "mlp.shared_expert.", proj, ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"groups": {"count": 4, "choose": "each"}, "top_k": 4, "expert_scale": true},
         "experts": {"count": 16, "intermediate": 24}, "shared": {"intermediate": 40}})"},
    {"doge",
     R"({"model_type": "doge", "hidden_size": 48, "intermediate_size": 40, "is_moe": true, "num_experts": 25, "num_experts_per_tok": 3,
                  "hidden_act": "silu", "norm_topk_prob": true, "torch_dtype": "float32"})",
     "model.layers.0.",
     "router.weight mlp.router_gate.weight\nexperts.up mlp.down_embed.weight flat_rows\n"
     "experts.down mlp.up_embed.weight flat_rows in_out\n" +
         lines("shared.", "mlp.", proj, ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"kind": "product_key", "score_over": "selected", "top_k": 3, "normalize": {"kind": "sum"}},
         "experts": {"count": 25, "intermediate": 1, "form": "mlp"}, "shared": {"intermediate": 40}})"},
};

// Text and images, and tokens of groups that do not exist: these choose no expert and change no other token.
TEST(GroupsOfTokens, tokens_of_no_group_choose_no_expert) {
  WorkFolder folder;
  std::string error;
  auto checkpoint = std::find_if(checkpoints().begin(), checkpoints().end(),
                                 [](const Checkpoint &one) { return one.label == "ernie_vl"; });
  ASSERT_NE(checkpoint, checkpoints().end());
  Result<GoldenCase> golden = readGoldenCase(goldenFolder, checkpoint->golden);
  ASSERT_TRUE(golden) << golden.error().placedMessage();
  ASSERT_NO_FATAL_FAILURE(writeCheckpoint(*checkpoint, *golden, folder));
  std::string prefix = importIn(folder, "", error);
  Package package(folder);
  ASSERT_TRUE(package.package) << error << package.error;
  LayerRun layer(package.package);
  Result<> loaded = layer.load(1, -1, folder / "model.safetensors", prefix);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const GoldenBatch &batch = golden->batches[0];
  CallInputs inputs = inputsOf(*golden, batch);
  const int32_t missing[] = {-1, 2};
  std::memcpy(&inputs.bytes.at("group_ids")[3 * 4], missing, sizeof(missing)); // tokens 3 and 4
  layer.setInputs(&inputs);
  CallOutputs out(layer.info(), batch.numTokens());
  Result<> ran = out.run(layer, batch.tensors.at("x").bytes.data());
  ASSERT_TRUE(ran) << ran.error().message;
  std::vector<double> ids = batch.tensors.at("ids").values();
  for (size_t i = 0; i < ids.size(); ++i) {
    bool none = i / 2 == 3 || i / 2 == 4;
    EXPECT_EQ(out.ids[i], none ? -1 : int32_t(ids[i])) << "token " << i / 2;
    EXPECT_EQ(out.weights[i] == 0, none) << "token " << i / 2;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ImportedCheckpoint, testing::ValuesIn(checkpoints()),
                         [](const auto &info) { return info.param.label; });
INSTANTIATE_TEST_SUITE_P(All, ReferencedCheckpoint, testing::ValuesIn(referenced),
                         [](const auto &info) { return info.param.label; });

} // namespace
