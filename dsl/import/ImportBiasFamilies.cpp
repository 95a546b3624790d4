// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families with shared experts, group limits or choice biases of their own. Facts are those of the published
// modelling code.

#include "dsl/import/ImportPieces.h"

#include <cmath>

namespace moec::families {

// `sharedByKey`: a config without n_shared_experts has none; otherwise it must say so.
static void deepseekExperts(I &i, bool sharedByKey = false) {
  experts(i, {"n_routed_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  if (!sharedByKey || i.writes("n_shared_experts"))
    wideShared(i, {"n_shared_experts"}, "mlp.shared_experts.",
               {"shared_experts_intermediate_size", "moe_intermediate_size"});
}

void deepseekV1(I &i) {
  deepseekExperts(i);
  score(i, "softmax");
  sumNormIfAsked(i, 1e-20, /*above1=*/true);
  if (!i.flagOr({"norm_topk_prob"}, false))
    keptRatios(i, "norm_topk_prob");
}

// Sigmoid scores, a bias that chooses, weights divided by their sum.
static void correctedSigmoid(I &i, const char *bias, Keys scale = {"routed_scaling_factor"}) {
  score(i, "sigmoid");
  i.fromFamily("router.choice_bias", true);
  i.weight("router.choice_bias", bias);
  if (!i.has("norm_topk_prob") || i.flag("router.normalize", {"norm_topk_prob"}))
    sumNorm(i, 1e-20);
  i.number("router.scale", scale, 1);
}

// A choice by a bias came with the language model of VL2, and configs of that one and of those that followed it leave
// out a scale of 1.
void deepseekV2(I &i) {
  deepseekExperts(i);
  f32Logits(i);
  std::string method = i.wordOr({"topk_method"}, "");
  if (method.empty())
    return i.missing({"topk_method"}, "router.groups");
  if (method == "noaux_tc") {
    correctedSigmoid(i, "mlp.gate.e_score_correction_bias");
    return groups(i, "top2_sum");
  }
  score(i, "softmax");
  i.ignore({"topk_group"});
  if (method == "group_limited_greedy")
    groups(i, "max");
  else if (method != "greedy")
    i.fail("E-IMPORT-KEY", "topk_method", "topk_method must be greedy, group_limited_greedy or noaux_tc");
  if (!i.flagOr({"norm_topk_prob"}, false) || i.integerOr({"num_experts_per_tok"}, 0) == 1) {
    const char *scale = "routed_scaling_factor";
    i.optionalNumber("router.scale", {scale}, 1);
    if (!i.has(scale))
      i.quirk(scale, "the config has no routed_scaling_factor, and every published version of the code takes 1 then",
              "router.scale 1");
    return keptRatios(i, "norm_topk_prob");
  }
  i.put("router.normalize.kind", "sum", "norm_topk_prob");
  i.fromFamily("router.normalize.eps", 1e-20);
  i.quirk("norm_topk_prob",
          "the authors' code leaves out routed_scaling_factor where it normalises, other code scales and does not "
          "normalise",
          "router.normalize sum, router.scale 1");
}

// topk_method, where the config has one: with noaux_tc a bias chooses and groups are scored by their best two; without
// it there is no bias and a group is as good as its best expert.
void deepseekV3(I &i) {
  deepseekExperts(i);
  f32Logits(i);
  std::string method = i.wordOr({"topk_method"}, "noaux_tc");
  if (method == "noaux_tc") {
    correctedSigmoid(i, "mlp.gate.e_score_correction_bias");
    return groups(i, "top2_sum");
  }
  if (method != "greedy" && method != "group_limited_greedy")
    return i.fail("E-IMPORT-KEY", "topk_method", "topk_method must be noaux_tc, greedy or group_limited_greedy");
  score(i, "sigmoid");
  if (!i.has("norm_topk_prob") || i.flag("router.normalize", {"norm_topk_prob"}))
    sumNorm(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  if (method == "group_limited_greedy")
    return groups(i, "max");
  i.ignore({"n_group", "topk_group"});
}

// The same without groups: those of this family score 0 where they are not kept, and were never published.
void axk2(I &i) {
  refuseUnless(i, "n_group", 1, "groups of this family were never published");
  deepseekV3(i);
}

// The same with a flag that must be there.
void dots(I &i) {
  i.flag("router.normalize", {"norm_topk_prob"});
  deepseekV3(i);
}

// Scale null means 1; one choice is never divided.
void mimo(I &i) {
  deepseekExperts(i, /*sharedByKey=*/true); // transformers' class of this config has no such key
  if (i.spec.contains("shared"))
    i.quirk("n_shared_experts",
            "some versions of the published code leave out the shared experts that the config names", "shared experts");
  f32Gate(i);
  score(i, "sigmoid");
  refuseUnless(i, "topk_method", "noaux_tc", "this family chooses by a bias");
  i.fromFamily("router.choice_bias", true);
  i.weight("router.choice_bias", "mlp.gate.e_score_correction_bias");
  sumNormIfAsked(i, 1e-20, /*above1=*/true);
  if (!i.writes("routed_scaling_factor"))
    i.missing({"routed_scaling_factor"}, "router.scale");
  i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
}

// Limits of the activations by layer; experts stand stacked under one name each.
void step(I &i) {
  refuseUnless(i, "moe_router_activation", "sigmoid", "only the sigmoid of this family was published");
  refuseUnless(i, "scoring_func", "sigmoid", "only the sigmoid of this family was published");
  refuseUnless(i, "use_moe_router_bias", true, "this family chooses by a bias");
  experts(i, {"moe_num_experts"}, {"moe_intermediate_size"});
  topK(i, {"moe_top_k"});
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.choice_bias", true);
  if (!i.has("norm_expert_weight") || i.flag("router.normalize", {"norm_expert_weight"})) // absent: always divided
    sumNorm(i, 1e-20);
  i.number("router.scale", {"moe_router_scaling_factor"}, 1);
  refuseUnless(i, "n_shared_experts", 1, "several shared experts of this family were never published");
  limit(i, "experts", "swiglu_limits", "post_act");
  limit(i, "shared", "swiglu_limits_shared", "post_act");
  i.integer("shared.intermediate", {"share_expert_dim"});
  i.sharedBlock("share_expert.", "gate_proj", "up_proj", "down_proj");
  i.weight("router.weight", "moe.gate.weight");
  i.weight("router.choice_bias", "moe.router_bias");
  i.weight("experts.gate", "moe.gate_proj.weight");
  i.weight("experts.up", "moe.up_proj.weight");
  i.weight("experts.down", "moe.down_proj.weight");
}

void exaone(I &i) {
  experts(i, {"num_experts", "n_routed_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  f32Logits(i);
  correctedSigmoid(i, "mlp.e_score_correction_bias");
  groups(i, "top2_sum");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts", "n_shared_experts"}, "mlp.shared_experts.");
}

// A layer's entry of mlp_layer_types, or the number of first layers that read a table.
static bool readsTable(I &i) {
  const Json *type = i.find({"mlp_layer_types"});
  if (type && *type != "hash_moe" && *type != "moe")
    i.fail("E-IMPORT-KEY", "mlp_layer_types", "mlp_layer_types must hold hash_moe and moe");
  if (!type && !i.writes("num_hash_layers"))
    i.missing({"num_hash_layers", "mlp_layer_types"}, "router.kind");
  bool first = i.layer() < i.integerOr({"num_hash_layers"}, 0);
  if (type && i.has("num_hash_layers") && first != (*type == "hash_moe"))
    i.fail("E-IMPORT-KEY", "num_hash_layers", "num_hash_layers and mlp_layer_types contradict each other");
  return type ? *type == "hash_moe" : first;
}

void deepseekV4(I &i) {
  experts(i, {"n_routed_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  f32Logits(i);
  score(i, "sqrtsoftplus");
  sumNorm(i, 1e-20);
  refuseUnless(i, "norm_topk_prob", true, "weights of this family are divided by their sum");
  refuseUnless(i, "topk_method", "noaux_tc", "this family chooses by a bias or a table");
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  auto limited = [&](const std::string &block) {
    if (i.has("swiglu_limit"))
      limit(i, block, "swiglu_limit");
    else
      i.fromFamily(block + ".clamp.limit", 10);
  };
  limited("experts");
  bool images = i.integerOr({"vision_n_layers"}, 0) != 0;
  if (images) {
    i.put("router.token_groups.count", 2, "vision_n_layers");
    i.weight("router.group1.choice_bias", "ffn.gate.bias_vl");
    i.quirk("vision_n_layers",
            "tokens of images choose by a bias of their own, on layers with a table too; inputs.group_ids says which "
            "tokens are text (0) and which are images (1)",
            "router.token_groups");
  }
  i.weight("router.weight", "ffn.gate.weight");
  i.perExpert("ffn.experts.{e}.", "w1", "w3", "w2");
  if (wideShared(i, {"n_shared_experts"}, "ffn.shared_experts.", {"moe_intermediate_size"}, {"w1", "w3", "w2"}))
    limited("shared");
  // A later model has no tables, and may divide its logits.
  bool later = i.out.family == "deepseek_v41";
  if (double divisor = i.numberOr({"gate_temp"}, 1); divisor != 1)
    i.put("router.transform", OrderedJson::array({{{"op", "temperature"}, {"value", divisor}}}), "gate_temp");
  if (!later && readsTable(i)) {
    i.fromFamily("router.kind", "table");
    i.integer("router.vocab", {"vocab_size"});
    i.weight("router.table", "ffn.gate.tid2eid");
    if (images)
      i.put("router.choice_bias", true, "vision_n_layers");
    return;
  }
  i.fromFamily("router.choice_bias", true);
  i.weight(images ? "router.group0.choice_bias" : "router.choice_bias", "ffn.gate.bias");
}

void lfm2(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.fromFamily("router.score", "sigmoid");
  topK(i);
  if (!i.has("norm_topk_prob") || i.flag("router.normalize", {"norm_topk_prob"}))
    sumNorm(i, 1e-6);
  if (i.flag("router.choice_bias", {"use_expert_bias"})) {
    i.put("router.choice_bias", true, "use_expert_bias");
    i.weight("router.choice_bias", "feed_forward.expert_bias");
  }
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  i.weight("router.weight", "feed_forward.gate.weight");
  i.perExpert("feed_forward.experts.{e}.", "w1", "w3", "w2");
}

void afmoe(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  correctedSigmoid(i, "mlp.expert_bias", {"route_scale"});
  refuseUnless(i, "score_func", "sigmoid", "only the sigmoid of this family was published");
  refuseUnless(i, "route_norm", true, "weights of this family are divided by their sum");
  refuseUnless(i, "n_group", 1, "groups of this family were never published");
  i.weight("router.weight", "mlp.router.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.");
}

// The first version is a softmax without groups; the second says what it is.
void bailing(I &i) {
  bool first = i.out.family == "bailing_moe" && !i.has("score_function");
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  routerDtype(i);
  if (!first && !i.has("score_function"))
    i.missing({"score_function"}, "router.score");
  score(i, "softmax", {"score_function"});
  sumNormIfAsked(i, 1e-20, /*above1=*/true);
  if (!first && i.flag("router.choice_bias", {"moe_router_enable_expert_bias"})) {
    i.put("router.choice_bias", true, "moe_router_enable_expert_bias");
    i.weight("router.choice_bias", "mlp.gate.expert_bias");
  }
  if (!first) {
    groups(i, "top2_sum");
    i.number("router.scale", {"routed_scaling_factor"}, 1);
  }
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  limit(i, "experts", "expert_swiglu_limit_list", "post_act");
  bool shared =
      i.has("moe_shared_expert_intermediate_size")
          ? wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.", {"moe_shared_expert_intermediate_size"})
          : wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.");
  if (shared)
    limit(i, "shared", "share_expert_swiglu_limit_list", "post_act");
}

void ernie(I &i) {
  experts(i, {"moe_num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i, {"moe_k"});
  f32Gate(i);
  i.fromFamily("router.choice_bias", true);
  i.fromFamily("router.normalize.kind", "sum");
  if (i.has("moe_norm_min"))
    i.number("router.normalize.eps", {"moe_norm_min"}, 0);
  else
    i.fromFamily("router.normalize.eps", 1e-12);
  i.fromFamily("router.normalize.eps_mode", "floor");
  refuseUnless(i, "use_bias", false, "expert biases of this family were never published");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.moe_statics.e_score_correction_bias");
  mlpExperts(i);
  wideShared(i, {"moe_num_shared_experts"}, "mlp.shared_experts.");
}

void hunyuan(I &i) {
  experts(i, {"num_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  int64_t width = i.integerOr({"intermediate_size"}, 0), other = i.integerOr({"moe_intermediate_size"}, width);
  if (other != width)
    i.fail("E-IMPORT-KEY", "moe_intermediate_size",
           "moe_intermediate_size (" + std::to_string(other) + ") and intermediate_size (" + std::to_string(width) +
               ") contradict each other: experts of this family have one width");
  topK(i, {"moe_topk"});
  f32Gate(i);
  sumNorm(i);
  i.weight("router.weight", "mlp.gate.wg.weight");
  mlpExperts(i);
  if (i.writes("num_shared_expert")) {
    wideShared(i, {"num_shared_expert"}, "mlp.shared_mlp.", {"intermediate_size"});
    return;
  }
  i.put("shared.intermediate", width, "intermediate_size");
  i.sharedBlock("mlp.shared_mlp.", "gate_proj", "up_proj", "down_proj");
}

void longcat(I &i) {
  experts(i, {"n_routed_experts"}, {"expert_ffn_hidden_size"});
  topK(i, {"moe_topk"});
  if (i.wordOr({"router_dtype"}, "float32") == "float32")
    f32Gate(i);
  else
    f32Logits(i);
  i.activation("experts.act", {"hidden_act"}, "silu");
  i.fromFamily("router.choice_bias", true);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  refuseUnless(i, "norm_topk_prob", false, "weights of this family are not divided by their sum");
  if (!i.has("zero_expert_num"))
    i.missing({"zero_expert_num"}, "experts.zero");
  if (i.integerOr({"zero_expert_num"}, 0) != 0) {
    i.integer("experts.zero.count", {"zero_expert_num"});
    std::string kind = i.wordOr({"zero_expert_type"}, "identity");
    if (kind != "identity")
      i.fail("E-IMPORT-KEY", "zero_expert_type",
             "zero_expert_type is not identity, the only kind this family published");
    i.put("experts.zero.kind", "identity", i.has("zero_expert_type") ? "zero_expert_type" : "family " + i.out.family);
  }
  if (i.flagOr({"router_bias"}, false))
    i.quirk("router_bias", "router_bias is true, but the forward pass never adds it", "router.bias false");
  i.weight("router.weight", "mlp.router.classifier.weight");
  i.weight("router.choice_bias", "mlp.router.e_score_correction_bias");
  mlpExperts(i);
}

void nemotron(I &i) {
  experts(i, {"n_routed_experts"}, {"moe_intermediate_size"});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"mlp_hidden_act"}, "relu2");
  topK(i);
  f32Gate(i);
  correctedSigmoid(i, "mixer.gate.e_score_correction_bias");
  groups(i, "top2_sum");
  refuseUnless(i, "mlp_bias", false, "expert biases of this family were never published");
  if (i.has("moe_latent_size") && i.integerOr({"moe_latent_size"}, 1) != 0) {
    i.integer("experts.latent.dim", {"moe_latent_size"});
    i.weight("latent.in", "mixer.fc1_latent_proj.weight");
    i.weight("latent.out", "mixer.fc2_latent_proj.weight");
  }
  i.weight("router.weight", "mixer.gate.weight");
  i.perExpert("mixer.experts.{e}.", nullptr, "up_proj", "down_proj");
  if (!i.writes("n_shared_experts"))
    return i.missing({"n_shared_experts"}, "shared");
  if (i.integerOr({"n_shared_experts"}, 0) == 0)
    return;
  i.integer("shared.intermediate", {"moe_shared_expert_intermediate_size"});
  i.fromFamily("shared.form", "mlp");
  i.activation("shared.act", {"mlp_hidden_act"}, "relu2");
  i.sharedBlock("mixer.shared_experts.", nullptr, "up_proj", "down_proj");
}

void gemma4(I &i) {
  if (!i.flagOr({"enable_moe_block"}, true))
    return i.fail("E-IMPORT-LAYER", "enable_moe_block", "enable_moe_block is false: this model has no experts");
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_activation"}, "gelu_tanh");
  topK(i, {"top_k_experts"});
  sumNorm(i);
  i.fromFamily("router.expert_scale", true);
  i.fromFamily("router.input.from", "residual");
  i.fromFamily("router.input.norm.kind", "rms");
  i.put("router.input.norm.eps", i.numberOr({"rms_norm_eps"}, 0), "rms_norm_eps");
  if (!i.has("rms_norm_eps"))
    i.missing({"rms_norm_eps"}, "router.input.norm.eps");
  i.put("router.input.norm.scale", 1 / std::sqrt(double(i.integerOr({"hidden_size"}, 1))), "hidden_size ^ -1/2");
  i.fromFamily("router.input.norm.weight", true);
  i.quirk("num_experts", "a dense block runs beside the experts with norms of its own, outside of this layer",
          "no shared experts");
  i.weight("router.weight", "router.proj.weight");
  i.weight("router.input_scale", "router.scale");
  i.weight("router.expert_scale", "router.per_expert_scale");
  i.weight("experts.gate", "experts.gate_up_proj", "", "", "first_half");
  i.weight("experts.up", "experts.gate_up_proj", "", "", "second_half");
  i.weight("experts.down", "experts.down_proj");
}

void klear(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.choice_bias", true);
  sumNormIfAsked(i);
  wideShared(i, {"n_shared_experts"}, "mlp.shared_experts.");
  if (!i.spec.contains("shared"))
    return i.fail("E-IMPORT-KEY", "n_shared_experts",
                  "n_shared_experts is 0, but this family mixes routed and shared experts");
  i.fromFamily("shared.gate", "softmax2");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.expert_bias");
  i.weight("shared.gate_weight", "mlp.coefficient.weight");
  i.weight("shared.gate_bias", "mlp.coefficient.bias");
  mlpExperts(i);
}

} // namespace moec::families
