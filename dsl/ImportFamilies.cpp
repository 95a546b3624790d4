// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of families: which model types, which of their layers have experts, where tensors stand.

#include "dsl/ImportPieces.h"

#include <algorithm>

namespace moec {

using namespace families;

namespace {

bool sparseSteps(const I &i, int64_t l) {
  if (i.config.contains("mlp_only_layers") && i.config["mlp_only_layers"].is_array())
    for (const Json &dense : i.config["mlp_only_layers"])
      if (dense.is_number_integer() && dense.get<int64_t>() == l)
        return false;
  int64_t step = std::max<int64_t>(1, i.integerOr({"decoder_sparse_step"}, 1));
  return (l + 1) % step == 0;
}

bool afterFirstDense(const I &i, int64_t l) {
  if (i.config.contains("mlp_layer_types") && i.config["mlp_layer_types"].is_array() && size_t(l) < i.config["mlp_layer_types"].size())
    return i.config["mlp_layer_types"][size_t(l)] == "sparse";
  int64_t first = i.integerOr({"first_k_dense_replace", "num_dense_layers", "first_k_dense"}, 0);
  int64_t every = std::max<int64_t>(1, i.integerOr({"moe_layer_freq"}, 1));
  return l >= first && l % every == 0;
}

bool jambaLayers(const I &i, int64_t l) {
  int64_t period = std::max<int64_t>(1, i.integerOr({"expert_layer_period"}, 2));
  return l % period == i.integerOr({"expert_layer_offset"}, 1);
}

bool llamaLayers(const I &i, int64_t l) {
  if (i.config.contains("moe_layers") && i.config["moe_layers"].is_array()) {
    for (const Json &layer : i.config["moe_layers"])
      if (layer.is_number_integer() && layer.get<int64_t>() == l)
        return true;
    return false;
  }
  int64_t step = std::max<int64_t>(1, i.integerOr({"interleave_moe_layer_step"}, 1));
  return l % step == step - 1;
}

bool ernieLayers(const I &i, int64_t l) {
  int64_t interval = std::max<int64_t>(1, i.integerOr({"moe_layer_interval"}, 1)), start = i.integerOr({"moe_layer_start_index"}, 0);
  int64_t end = i.integerOr({"moe_layer_end_index"}, -1);
  return (l + 1) % interval == 0 && l >= start && (end < 0 || l <= end);
}

bool arcticLayers(const I &i, int64_t l) { return (l + 1) % std::max<int64_t>(1, i.integerOr({"moe_layer_frequency"}, 2)) == 0; }

bool switchLayers(const I &i, int64_t l) {
  int64_t sparse = std::max<int64_t>(1, i.integerOr({"num_sparse_encoder_layers"}, 3));
  int64_t step = std::max<int64_t>(1, i.integerOr({"num_layers"}, 12) / sparse);
  return step == 1 || l % step == 1;
}

bool nllbLayers(const I &i, int64_t l) { return (l + 1) % std::max<int64_t>(1, i.integerOr({"decoder_sparse_step", "encoder_sparse_step"}, 4)) == 0; }

bool nemotronLayers(const I &i, int64_t l) {
  std::string pattern;
  if (i.config.contains("hybrid_override_pattern") && i.config["hybrid_override_pattern"].is_string())
    pattern = i.config["hybrid_override_pattern"].get<std::string>();
  return size_t(l) < pattern.size() && pattern[size_t(l)] == 'E';
}

} // namespace

const std::vector<ImportFamily> &importFamilies() {
  static const char *const decoder = "model.layers.{l}.", *const every = "every layer has";
  static const char *const afterDense = "those from first_k_dense_replace on have";
  static const std::vector<ImportFamily> families = {
      {{"mixtral", "minimax"}, nullptr, every, decoder, mixtral},
      {{"minimax_m2"}, nullptr, every, decoder, minimaxM2},
      {{"phimoe"}, nullptr, every, decoder, phi},
      {{"arctic"}, arcticLayers, "every moe_layer_frequency-th has", decoder, arctic},
      {{"qwen2_moe"}, sparseSteps, "those of decoder_sparse_step that are not in mlp_only_layers have", decoder, qwen2},
      {{"qwen3_moe"}, sparseSteps, "those of decoder_sparse_step that are not in mlp_only_layers have", decoder, qwen3},
      {{"qwen3_next"}, sparseSteps, "those of decoder_sparse_step that are not in mlp_only_layers have", decoder, qwen3Next},
      {{"qwen3_5_moe", "qwen3_5_moe_text"}, sparseSteps, every, decoder, qwen35},
      {{"qwen3_vl_moe", "qwen3_vl_moe_text"}, sparseSteps, every, "model.language_model.layers.{l}.", qwen3Vl},
      {{"olmoe", "flex_olmo"}, nullptr, every, decoder, olmoe},
      {{"jamba"}, jambaLayers, "those at expert_layer_offset of every expert_layer_period have", decoder, jamba},
      {{"dbrx"}, nullptr, every, "transformer.blocks.{l}.", dbrx},
      {{"granitemoe", "granitemoeshared", "granitemoehybrid"}, nullptr, every, decoder, granite},
      {{"jetmoe"}, nullptr, every, decoder, jetmoe},
      {{"aria", "aria_text"}, nullptr, every, "language_model.model.layers.{l}.", aria},
      {{"gpt_oss"}, nullptr, every, decoder, gptOss},
      {{"llama4", "llama4_text"}, llamaLayers, "moe_layers, or every interleave_moe_layer_step-th", "language_model.model.layers.{l}.", llama4},
      {{"grok-1", "grok"}, nullptr, every, decoder, grok1},
      {{"deepseek"}, afterFirstDense, afterDense, decoder, deepseekV1},
      {{"deepseek_v2"}, afterFirstDense, afterDense, decoder, deepseekV2},
      {{"deepseek_v3", "kimi_k2", "dots1", "solar_open"}, afterFirstDense, afterDense, decoder, deepseekV3},
      {{"glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "mimo_v2_flash"}, afterFirstDense, afterDense, decoder, glm},
      {{"exaone_moe"}, afterFirstDense, afterDense, decoder, exaone},
      {{"deepseek_v4"}, nullptr, every, decoder, deepseekV4},
      {{"lfm2_moe"}, afterFirstDense, "those from num_dense_layers on have", decoder, lfm2},
      {{"afmoe"}, afterFirstDense, "those from num_dense_layers on have", decoder, afmoe},
      {{"bailing_moe", "bailing_moe_v2"}, afterFirstDense, afterDense, decoder, bailing},
      {{"ernie4_5_moe"}, ernieLayers, "every moe_layer_interval-th between moe_layer_start_index and moe_layer_end_index", decoder, ernie},
      {{"hunyuan_v1_moe"}, nullptr, every, decoder, hunyuan},
      {{"longcat_flash"}, nullptr, every, decoder, longcat},
      {{"nemotron_h"}, nemotronLayers, "those with E in hybrid_override_pattern have", "backbone.layers.{l}.", nemotron},
      {{"gemma4", "gemma4_text"}, nullptr, every, "model.language_model.layers.{l}.", gemma4},
      {{"Klear", "klear"}, sparseSteps, every, decoder, klear},
      {{"switch_transformers"}, switchLayers, "every (num_layers / num_sparse_encoder_layers)-th has", "encoder.block.{l}.layer.1.", switchTransformers},
      {{"nllb-moe"}, nllbLayers, "every sparse_step-th has", "model.decoder.layers.{l}.", nllb},
  };
  return families;
}

} // namespace moec
