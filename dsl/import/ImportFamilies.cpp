// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of families: which model types, which of their layers have experts, where tensors stand.

#include "dsl/import/ImportPieces.h"

#include <algorithm>

namespace moec {

using namespace families;

namespace {

// A member that is a list of layer numbers.
bool lists(const I &i, const char *key, int64_t l) {
  for (const Json &layer : *i.whole(key))
    if (layer.is_number_integer() && layer.get<int64_t>() == l)
      return true;
  return false;
}

// A member that is a list with an entry per layer; null: none, or it is too short.
const Json *entryOf(const I &i, const char *key, int64_t l) {
  const Json *list = i.whole(key);
  return list && list->is_array() && size_t(l) < list->size() ? &(*list)[size_t(l)] : nullptr;
}

// Something that is there must be a list, unless it may be a number too.
bool isList(const I &i, const char *key, bool orNumber = false) {
  const Json *found = i.whole(key);
  if (!found)
    return false;
  if (!found->is_array() && !(orNumber && found->is_number_integer()))
    i.fail("E-IMPORT-KEY", key, std::string(key) + " must be a list");
  return found->is_array();
}

int64_t stepOf(const I &i, const char *key) {
  int64_t step = i.integerOr({key}, 1);
  if (step < 1)
    i.fail("E-IMPORT-KEY", key, std::string(key) + " is below 1");
  return std::max<int64_t>(1, step);
}

bool sparseSteps(const I &i, int64_t l) {
  if (isList(i, "mlp_only_layers") && lists(i, "mlp_only_layers", l))
    return false;
  return (l + 1) % stepOf(i, "decoder_sparse_step") == 0;
}

bool afterFirstDense(const I &i, int64_t l) {
  if (isList(i, "mlp_layer_types"))
    if (const Json *type = entryOf(i, "mlp_layer_types", l))
      return *type == "sparse";
  if (isList(i, "is_moe_layer"))
    if (const Json *entry = entryOf(i, "is_moe_layer", l))
      return *entry == true;
  if (isList(i, "moe_layer_freq", /*orNumber=*/true)) {
    const Json *entry = entryOf(i, "moe_layer_freq", l);
    return entry && *entry == 1;
  }
  int64_t first = i.integerOr({"first_k_dense_replace", "num_dense_layers", "first_k_dense", "dense_mlp_idx"}, 0);
  return l >= first && l % stepOf(i, "moe_layer_freq") == 0;
}

bool jambaLayers(const I &i, int64_t l) {
  return l % stepOf(i, "expert_layer_period") == i.integerOr({"expert_layer_offset"}, 0);
}

bool llamaLayers(const I &i, int64_t l) {
  if (isList(i, "moe_layers"))
    return lists(i, "moe_layers", l);
  int64_t step = stepOf(i, "interleave_moe_layer_step");
  return l % step == step - 1;
}

bool ernieLayers(const I &i, int64_t l) {
  int64_t end = i.integerOr({"moe_layer_end_index"}, -1);
  return (l + 1) % stepOf(i, "moe_layer_interval") == 0 && l >= i.integerOr({"moe_layer_start_index"}, 0) &&
         (end < 0 || l <= end);
}

// The first or last layer of text and of images: a list of both, or one number.
int64_t indexOf(const I &i, const char *key, int64_t kind, int64_t other) {
  const Json *found = i.whole(key);
  if (found && found->is_array() && found->size() == 2)
    found = &(*found)[size_t(kind)];
  return found && found->is_number_integer() ? found->get<int64_t>() : other;
}

// Layers with experts of both kinds.
bool ernieVlLayers(const I &i, int64_t l) {
  for (int64_t kind : {0, 1}) {
    int64_t end = indexOf(i, "moe_layer_end_index", kind, -1);
    if (l < indexOf(i, "moe_layer_start_index", kind, 0) || (end >= 0 && l > end))
      return false;
  }
  return (l + 1) % stepOf(i, "moe_layer_interval") == 0;
}

bool arcticLayers(const I &i, int64_t l) { return (l + 1) % stepOf(i, "moe_layer_frequency") == 0; }

bool switchLayers(const I &i, int64_t l) {
  int64_t sparse =
      i.options.decoder ? i.integerOr({"num_sparse_decoder_layers"}, 0) : i.integerOr({"num_sparse_encoder_layers"}, 0);
  int64_t layers =
      i.options.decoder ? i.integerOr({"num_decoder_layers", "num_layers"}, 0) : i.integerOr({"num_layers"}, 0);
  int64_t step = sparse > 0 ? layers / sparse : 0;
  return step > 0 && (step == 1 || l % step == 1);
}

bool nllbLayers(const I &i, int64_t l) {
  int64_t step = i.options.decoder ? i.integerOr({"decoder_sparse_step"}, 0) : i.integerOr({"encoder_sparse_step"}, 0);
  return step > 0 && (l + 1) % step == 0;
}

bool nemotronLayers(const I &i, int64_t l) {
  if (isList(i, "layers_block_type"))
    if (const Json *type = entryOf(i, "layers_block_type", l))
      return *type == "moe";
  const Json *found = i.whole("hybrid_override_pattern");
  if (!found || !found->is_string())
    return false;
  const std::string &pattern = found->get_ref<const std::string &>();
  return size_t(l) < pattern.size() && pattern[size_t(l)] == 'E';
}

bool pyramidLayers(const I &i, int64_t l) {
  const char *key = "pyramid_num_routed";
  if (!isList(i, key))
    return afterFirstDense(i, l);
  const Json *count = entryOf(i, key, l);
  return count && count->is_number_integer() && count->get<int64_t>() > 0;
}

bool layoutLayers(const I &i, int64_t l) {
  const char *key = "moe_layer_layout";
  if (!isList(i, key))
    return true;
  const Json *entry = entryOf(i, key, l);
  return entry && *entry == 1;
}

bool moondreamLayers(const I &i, int64_t l) { return l >= i.integerOr({"config.text.moe.start_layer"}, 4); }

bool everySecondOf(const I &i, int64_t l) {
  int64_t step = i.integerOr({"moe_every_n_layers"}, 0);
  return step > 0 && l % step == 1;
}

// "3,4,5": their numbers in a text, or in a list.
bool stepLayers(const I &i, int64_t l) {
  const char *key = "moe_layers_enum";
  const Json *found = i.whole(key);
  if (!found)
    return afterFirstDense(i, l);
  if (found->is_array())
    return lists(i, key, l);
  if (!found->is_string()) {
    i.fail("E-IMPORT-KEY", key, std::string(key) + " must be a text or a list");
    return false;
  }
  std::string text = "," + found->get<std::string>() + ",";
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text.find("," + std::to_string(l) + ",") != std::string::npos;
}

} // namespace

const std::vector<ImportFamily> &importFamilies() {
  static const char *const decoder = "model.layers.{l}.";
  static const LayerRule every = {nullptr, "every layer has", {}};
  static const LayerRule steps = {sparseSteps,
                                  "those of decoder_sparse_step that are not in mlp_only_layers have",
                                  {"decoder_sparse_step", "mlp_only_layers"}};
  static const LayerRule afterDense = {
      afterFirstDense,
      "those from first_k_dense_replace on have",
      {"first_k_dense_replace", "first_k_dense", "mlp_layer_types", "moe_layer_freq", "is_moe_layer"}};
  static const LayerRule afterDenseLayers = {
      afterFirstDense, "those from num_dense_layers on have", {"num_dense_layers", "mlp_layer_types"}};
  static const LayerRule sparseTypes = {
      afterFirstDense, "those that are sparse in mlp_layer_types have", {"mlp_layer_types"}};
  static const std::vector<ImportFamily> families = {
      {{"mixtral", "minimax"}, every, decoder, mixtral},
      {{"minimax_m2"}, every, decoder, minimaxM2},
      {{"phimoe"}, every, decoder, phi},
      {{"arctic"}, {arcticLayers, "every moe_layer_frequency-th has", {"moe_layer_frequency"}}, decoder, arctic},
      {{"qwen2_moe"}, steps, decoder, qwen2},
      {{"qwen3_moe", "mellum", "sdar_moe"}, steps, decoder, qwen3},
      {{"qwen3_omni_moe_text"}, steps, decoder, qwen3Omni},
      {{"qwen3_next"}, steps, decoder, qwen3Next},
      {{"qwen3_5_moe", "qwen3_5_moe_text"}, every, decoder, qwen35},
      {{"qwen3_vl_moe", "qwen3_vl_moe_text"}, steps, decoder, qwen3Vl},
      {{"olmoe", "flex_olmo"}, every, decoder, olmoe},
      {{"jamba"},
       {jambaLayers,
        "those at expert_layer_offset of every expert_layer_period have",
        {"expert_layer_period", "expert_layer_offset"}},
       decoder,
       jamba},
      {{"dbrx"}, every, "transformer.blocks.{l}.", dbrx},
      {{"granitemoe", "granitemoeshared", "granitemoehybrid", "granitemoe_swa"}, every, decoder, granite},
      {{"jetmoe"}, every, decoder, jetmoe},
      {{"aria", "aria_text"}, every, decoder, aria},
      {{"gpt_oss"}, every, decoder, gptOss},
      {{"llama4", "llama4_text"},
       {llamaLayers, "moe_layers, or every interleave_moe_layer_step-th", {"moe_layers", "interleave_moe_layer_step"}},
       decoder,
       llama4},
      {{"grok-1", "grok"}, every, decoder, grok1},
      {{"deepseek"}, afterDense, decoder, deepseekV1},
      {{"deepseek_v2", "deepseek_vl_v2", "deepseek_ocr2_text", "unlimited_ocr_text"}, afterDense, decoder, deepseekV2},
      {{"deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_vl", "solar_open", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa",
        "glm4v_moe", "glm4v_moe_text", "dots3_note_text"},
       afterDense,
       decoder,
       deepseekV3},
      {{"k2_horizon", "xllm"}, steps, decoder, horizon},
      {{"axk2"}, afterDense, decoder, axk2},
      {{"dots1"}, afterDense, decoder, dots},
      {{"mimo_v2_flash"}, afterDense, decoder, mimo},
      {{"step3p5", "step3p7"},
       {stepLayers,
        "those in moe_layers_enum, or from first_k_dense_replace on, have",
        {"moe_layers_enum", "first_k_dense_replace", "mlp_layer_types"}},
       decoder,
       step},
      {{"exaone_moe"}, afterDense, decoder, exaone},
      {{"deepseek_v4", "deepseek_v41", "deepseek_ref"}, every, "layers.{l}.", deepseekV4},
      {{"lfm2_moe"}, afterDenseLayers, decoder, lfm2},
      {{"afmoe"}, afterDenseLayers, decoder, afmoe},
      {{"bailing_moe", "bailing_moe_v2", "bailing_moe_linear"}, afterDense, decoder, bailing},
      {{"bailing_hybrid"}, afterDense, decoder, bailingHybrid},
      {{"ernie4_5_moe"},
       {ernieLayers,
        "every moe_layer_interval-th between moe_layer_start_index and moe_layer_end_index",
        {"moe_layer_interval", "moe_layer_start_index", "moe_layer_end_index"}},
       decoder,
       ernie},
      {{"ernie4_5_vl_moe", "ernie4_5_vl_moe_text", "ernie4_5_moe_vl"},
       {ernieVlLayers,
        "every moe_layer_interval-th between moe_layer_start_index and moe_layer_end_index of both kinds",
        {"moe_layer_interval", "moe_layer_start_index", "moe_layer_end_index"}},
       decoder,
       ernieVl},
      {{"interns1_pro", "interns1_pro_text"}, steps, decoder, internPro},
      {{"PanguProMoE"}, steps, decoder, panguPro},
      {{"inkling_text", "inkling_mm_model"},
       {afterFirstDense, "those from dense_mlp_idx on have", {"dense_mlp_idx", "mlp_layer_types"}},
       "model.llm.layers.{l}.",
       inkling},
      {{"kimi_linear"}, afterDense, decoder, kimiLinear},
      {{"hy_v3"}, afterDense, decoder, hunyuanV3},
      {{"hy_v4", "hy_v4_vl_text"}, afterDense, decoder, hunyuanV4},
      {{"glm5_next", "glm5_next_text"}, afterDense, decoder, glm5Next},
      {{"minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"}, afterDense, decoder, minimaxM3},
      {{"muse_spark_text"}, sparseTypes, decoder, museSpark},
      {{"axk1"}, afterDense, decoder, axk1},
      {{"inkling2_text", "inkling2_loop_text"}, every, "model.llm.layers.{l}.", inkling2},
      {{"laguna"}, afterDense, decoder, laguna},
      {{"cohere2_moe"}, afterDense, decoder, cohere2},
      {{"hunyuan_v1_moe"}, every, decoder, hunyuan},
      {{"longcat_flash", "longcat_flash_ngram", "longcat_flash_sparse"}, every, decoder, longcat},
      {{"nemotron_h"},
       {nemotronLayers,
        "those with E in hybrid_override_pattern, or moe in layers_block_type, have",
        {"hybrid_override_pattern", "layers_block_type"}},
       "backbone.layers.{l}.",
       nemotron},
      {{"gemma4", "gemma4_text", "diffusion_gemma_text"}, every, decoder, gemma4},
      {{"Klear", "klear"}, steps, decoder, klear},
      {{"doge"}, every, decoder, doge},
      {{"mistral4"}, afterDense, decoder, mistral4},
      {{"mistral_large4_text"}, afterDense, "layers.{l}.", mistralLarge4},
      {{"beam"}, afterDense, decoder, beam},
      {{"sarvam_moe"}, afterDense, decoder, sarvamMoe},
      {{"sarvam_mla"}, afterDense, decoder, sarvamMla},
      {{"param2moe"}, afterDense, decoder, param2},
      {{"pangu_ultra_moe"},
       {afterFirstDense,
        "those from num_dense_layers on have",
        {"num_dense_layers", "first_k_dense_replace", "mlp_layer_types"}},
       decoder,
       pangu},
      {{"alice_ai"}, every, decoder, alice},
      {{"gigachat3_5"}, afterDense, decoder, gigaChat},
      {{"flint"}, steps, decoder, flint},
      {{"kolibri1"}, every, decoder, kolibri},
      {{"lara_mini"}, every, decoder, laraMini},
      {{"dots3_note_vision_encoder"},
       {pyramidLayers, "those with experts in pyramid_num_routed have", {"pyramid_num_routed", "mlp_layer_types"}},
       "blocks.{l}.",
       dotsVision,
       nullptr,
       {"embed_dim"}},
      {{"qwen4_exp_text"}, every, decoder, qwen4},
      {{"qwen3_omni_moe_talker_text"}, every, decoder, qwen2},
      {{"llada", "llada_moe"}, afterDense, decoder, llada},
      {{"minicpm"}, every, decoder, miniCpm},
      {{"xverse", "xverse_moe"}, every, decoder, xverse},
      {{"iquest_q1"}, steps, decoder, iquest},
      {{"step3_text"}, {stepLayers, "those in moe_layers_enum have", {"moe_layers_enum"}}, decoder, step3},
      {{"openai_privacy_filter"}, every, decoder, privacyFilter},
      {{"moondream3"},
       {moondreamLayers, "those from config.text.moe.start_layer on have", {"model_type"}},
       "model.text.blocks.{l}.",
       moondream,
       nullptr,
       {"config.text.dim", 2048}},
      {{"nomic_bert"},
       {everySecondOf, "those that leave 1 when divided by moe_every_n_layers have", {"moe_every_n_layers"}},
       "encoder.layers.{l}.",
       nomicBert,
       nullptr,
       {"n_embd"}},
      {{"smallthinker"},
       {layoutLayers, "those with 1 in moe_layer_layout have", {"model_type"}},
       decoder,
       smallThinker},
      {{"interns2_mobius"}, every, decoder, nullptr, "a bank of experts that several layers share"},
      {{"llada2_moe"}, every, decoder, nullptr, "candidates among the experts for each block of tokens"},
      {{"vitpose_backbone"}, every, decoder, nullptr, "experts that compute a part of the output's columns"},
      {{"switch_transformers"},
       {switchLayers,
        "every (num_layers / num_sparse_encoder_layers)-th has, with --decoder as num_sparse_decoder_layers says",
        {"num_sparse_encoder_layers", "num_sparse_decoder_layers"}},
       "encoder.block.{l}.layer.1.",
       switchTransformers},
      {{"nllb-moe"},
       {nllbLayers,
        "every encoder_sparse_step-th has, with --decoder every decoder_sparse_step-th",
        {"encoder_sparse_step", "decoder_sparse_step"}},
       decoder,
       nllb},
      {{"zaya", "zaya1_vl"}, every, decoder, nullptr, "a router that is an MLP with a state of the layer before"},
      {{"grove_moe"}, every, decoder, nullptr, "a second set of experts, one for each group"},
  };
  return families;
}

const char *prefixWithin(const Json &root, const std::string &outer, const std::string &at) {
  static const char *const decoder = "model.layers.{l}.", *const language = "model.language_model.layers.{l}.",
                           *const languageModel = "language_model.model.layers.{l}.",
                           *const nemotron = "language_model.backbone.layers.{l}.";
  static const std::pair<const char *, const char *> wrappers[] = {
      {"qwen3_5_moe", language},
      {"qwen3_vl_moe", language},
      {"glm4v_moe", language},
      {"gemma4", language},
      {"aria", languageModel},
      {"llama4", languageModel},
      {"kimi_k25", languageModel},
      {"kimi_vl", languageModel},
      {"qwen3_omni_moe", "thinker.model.layers.{l}."},
      {"qwen4_exp", language},
      {"mistral3", language},
      {"mistral_large4", "layers.{l}."},
      {"step3_vl", decoder},
      {"deepseek_vl_v2", "language.model.layers.{l}."},
      {"dots3_note", decoder},
      {"deepseek_ocr2", decoder},
      {"unlimited_ocr", decoder},
      {"internvl_chat", languageModel},
      {"interns1", language},
      {"NemotronH_Nano_VL_V2", nemotron},
      {"NemotronH_Nano_Omni_Reasoning_V3", nemotron},
      {"NemotronH_Super_Omni_Reasoning_V3", nemotron},
      {"NemotronH_Omni_Reasoning_V3", nemotron},
      // by architecture, where several models have one type
      {"DeepseekOCRForCausalLM", decoder},
      {"DeepseekOCR2ForCausalLM", decoder},
      {"UnlimitedOCRForCausalLM", decoder},
      // by type and key, where a model inside is not the text model
      {"qwen3_omni_moe.talker_config.text_config", "talker.model.layers.{l}."},
      {"dots3_note.vision_config", "vision_encoder.blocks.{l}."},
      {"kimi_k3", languageModel},
      {"minimax_m3_vl", languageModel},
      {"glm5_next", language},
      {"hy_v4_vl", language},
      {"muse_spark", language},
      {"inkling2", "model.llm.layers.{l}."},
      {"inkling2_loop", "model.llm.layers.{l}."},
      {"interns1_pro", language},
      {"inkling_mm_model", "model.llm.layers.{l}."},
      {"ernie4_5_vl_moe", "model.layers.{l}."},
  };
  const Json *architecture = memberOf(root, "architectures");
  bool listed = architecture && architecture->is_array() && !architecture->empty() && (*architecture)[0].is_string();
  std::vector<std::string> names = {outer + "." + at};
  if (at.empty())
    names = {listed ? (*architecture)[0].get<std::string>() : "", outer};
  for (const std::string &wanted : names)
    for (auto [name, prefix] : wrappers)
      if (wanted == name)
        return prefix;
  return nullptr;
}

} // namespace moec
