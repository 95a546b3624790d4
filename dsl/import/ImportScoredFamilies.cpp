// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families with the blocks of DeepSeek's or Qwen's layers and a router of their own: other scores, groups without a
// bias, biases that may be left out. Facts are those of the published modelling code.

#include "dsl/import/ImportPieces.h"

#include <algorithm>

namespace moec::families {

static void gatedExperts(I &i, Keys count) {
  experts(i, count, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
}

static void plainShared(I &i, const std::string &stem) {
  i.integer("shared.intermediate", {"shared_expert_intermediate_size"});
  i.sharedBlock(stem, "gate_proj", "up_proj", "down_proj");
}

// Divided by their sum unless norm_topk_prob says no.
static void sumUnlessDenied(I &i, double eps = 0) {
  if (!i.has("norm_topk_prob") || i.flag("router.normalize", {"norm_topk_prob"}))
    sumNorm(i, eps);
}

static void choiceBias(I &i, const char *tensor, const char *source = nullptr) {
  i.put("router.choice_bias", true, source ? source : "family " + i.out.family);
  i.weight("router.choice_bias", tensor);
}

static void f32OrAsSaid(I &i) {
  if (i.has({"router_dtype", "moe_router_dtype"}))
    routerDtype(i);
  else
    f32Logits(i);
}

// Groups are as good as their best two experts, and no bias chooses: experts of the others score 0.
void mistral4(I &i) {
  gatedExperts(i, {"n_routed_experts"});
  score(i, "softmax");
  sumNormIfAsked(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", "", "first_half");
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", "", "second_half");
  i.weight("experts.down", "mlp.experts.down_proj");
  wideShared(i, {"n_shared_experts"}, "mlp.shared_experts.");
}

// The same in f32, always divided, under the names of its authors' own format.
void mistralLarge4(I &i) {
  gatedExperts(i, {"n_routed_experts"});
  f32Logits(i);
  score(i, "softmax");
  alwaysSum(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "gate.weight");
  i.perExpert("experts.{e}.", "w1", "w3", "w2");
  wideShared(i, {"n_shared_experts"}, "shared_experts.", {"moe_intermediate_size"}, {"w1", "w3", "w2"});
}

// The third version of DeepSeek's router beside no shared experts.
void beam(I &i) {
  gatedExperts(i, {"num_experts"});
  f32Logits(i);
  score(i, "sigmoid");
  choiceBias(i, "mlp.gate.e_score_correction_bias");
  sumUnlessDenied(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
}

// Keys of Bailing's second version, which a config that is saved again leaves out. Servers subtract the mean from the
// bias, which changes no choice.
static void sarvamRouter(I &i, const char *bias) {
  gatedExperts(i, {"num_experts"});
  f32OrAsSaid(i);
  score(i, "sigmoid", {"score_function", "scoring_func"});
  const char *flag = "moe_router_enable_expert_bias";
  if (i.flagOr({flag}, true))
    choiceBias(i, bias, i.has(flag) ? flag : nullptr);
  sumUnlessDenied(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
}

void sarvamMoe(I &i) {
  sarvamRouter(i, "mlp.gate.expert_bias");
  wideShared(i, {"num_shared_experts", "n_shared_experts"}, "mlp.shared_experts.",
             {"moe_shared_expert_intermediate_size", "moe_intermediate_size"});
}

void sarvamMla(I &i) {
  sarvamRouter(i, "mlp.gate.e_score_correction_bias");
  wideShared(i, {"num_shared_experts", "n_shared_experts"}, "mlp.shared_experts.",
             {"moe_shared_expert_intermediate_size", "moe_intermediate_size"});
}

// A width of shared experts that the config names is that of all of them together.
void param2(I &i) {
  sarvamRouter(i, "mlp.gate.expert_bias");
  const char *width = "moe_shared_expert_intermediate_size";
  const Keys count = {"num_shared_experts", "n_shared_experts"};
  if (!i.has(width) || i.integerOr(count, 1) == 0) {
    wideShared(i, count, "mlp.shared_experts.");
    return i.ignore({width});
  }
  i.integer("shared.intermediate", {width});
  i.sharedBlock("mlp.shared_experts.", "gate_proj", "up_proj", "down_proj");
  if (i.integerOr(count, 1) > 1)
    i.quirk(width, "some published tools multiply it by the number of shared experts, the code of the model does not",
            "shared.intermediate as it is written");
}

// Bailing's second version under other keys; a config that names no score has the sigmoid and the bias.
void bailingHybrid(I &i) {
  if (i.has("score_function"))
    return bailing(i);
  gatedExperts(i, {"num_experts"});
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  choiceBias(i, "mlp.gate.expert_bias");
  if (i.flag("router.normalize", {"norm_topk_prob", "moe_renormalize"}))
    sumNorm(i, 1e-20);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts", "n_shared_experts"}, "mlp.shared_experts.");
}

// The bias of the router's linear layer only chooses. Experts of the attention's values are outside of this layer.
void horizon(I &i) {
  gatedExperts(i, {"num_experts"});
  score(i, "sigmoid", {"router_score_func"});
  const char *flag = "moe_gate_bias";
  if (i.flag("router.choice_bias", {flag}))
    choiceBias(i, "mlp.gate.bias", flag);
  sumNormIfAsked(i);
  i.number("router.scale", {"router_scaling_factor"}, 1);
  i.ignore({"mova_num_experts", "mova_num_experts_per_tok"});
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.");
}

// Keys of the authors' config, or those of the servers that load it; the bias came with a later version.
void pangu(I &i) {
  gatedExperts(i, {"num_routed_experts", "n_routed_experts"});
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  const char *flag = "router_enable_expert_bias";
  if (i.flagOr({flag}, false))
    choiceBias(i, "mlp.e_score_correction_bias", flag);
  if (!i.has("norm_topk_prob"))
    sumNorm(i, 1e-20);
  else
    sumNormIfAsked(i, 1e-20, /*above1=*/true);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  refuseUnless(i, "n_group", 1, "groups of this family were never published");
  i.ignore({"topk_group"});
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts", "n_shared_experts"}, "mlp.shared_experts.");
}

// Qwen's blocks beside sigmoid scores and a bias that chooses.
void alice(I &i) {
  gatedExperts(i, {"num_experts"});
  refuseUnless(i, "router_score_function", "sigmoid", "only the sigmoid of this family was published");
  refuseUnless(i, "router_bias_correction", true, "this family chooses by a bias");
  i.fromFamily("router.score", "sigmoid");
  choiceBias(i, "mlp.gate.e_score_correction_bias");
  sumUnlessDenied(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  gatedShared(i);
}

void gigaChat(I &i) {
  refuseUnless(i, "swiglu_limit", nullptr, "a limit on the activations of this family was never published");
  refuseUnless(i, "use_shared_expert_sigmoid", false, "a gate of the shared experts was never published");
  deepseekV3(i);
}

// Sigmoid scores, no bias, and a shared expert that is added in full.
void flint(I &i) {
  gatedExperts(i, {"num_experts"});
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  sumNormIfAsked(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  plainShared(i, "mlp.shared_expert.");
}

// The bias is added to the logits, and the scores are those of the chosen logits without it.
void kolibri(I &i) {
  gatedExperts(i, {"num_experts"});
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.score_over", "selected");
  choiceBias(i, "moe.router.expert_bias");
  sumNormIfAsked(i);
  if (!i.flagOr({"norm_topk_prob"}, false))
    keptRatios(i, "norm_topk_prob");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  plainShared(i, "mlp.shared_experts.");
}

void laraMini(I &i) {
  gatedExperts(i, {"num_experts"});
  f32Logits(i);
  sumNormIfAsked(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  plainShared(i, "mlp.shared_expert.");
}

// The encoder of images of dots3_note: the number of experts grows from layer to layer, and no token has more choices
// than there are experts.
void dotsVision(I &i) {
  experts(i, {"pyramid_num_routed", "num_local_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  std::string key;
  if (!i.find({"capacity_factor", "num_experts_per_tok"}, &key))
    return i.missing({"capacity_factor", "num_experts_per_tok"}, "router.top_k");
  int64_t choices = i.integerOr({key.c_str()}, 0);
  if (choices < 1)
    return i.fail("E-IMPORT-KEY", key, key + " must be a whole number of at least 1");
  i.put("router.top_k", std::min(choices, i.integerOr({"pyramid_num_routed", "num_local_experts"}, choices)), key);
  choiceBias(i, "mlp.router_bias");
  sumNorm(i, 1e-20);
  i.optionalNumber("router.scale", {"router_scale", "router_scaling_factor"}, 1);
  refuseUnless(i, "mlp_bias", false, "expert biases of this family were never published");
  i.weight("router.weight", "mlp.gate_weight");
  i.perExpert("mlp.experts.{e}.", "fc1", "fc3", "fc2");
}

} // namespace moec::families
