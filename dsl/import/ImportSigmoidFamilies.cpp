// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families that route as an older one does, under keys and names of their own. Facts are those of the published
// modelling code.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

static void choiceBias(I &i, const char *tensor) {
  i.fromFamily("router.choice_bias", true);
  i.weight("router.choice_bias", tensor);
}

static void gatedExperts(I &i, Keys width) {
  experts(i, {"num_experts"}, width);
  i.activation("experts.act", {"hidden_act"}, "silu");
}

// Experts may work in a smaller space, with a norm of their sum. The activation "situ" is silu with soft caps.
void kimiLinear(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  bool capped = i.wordOr({"hidden_act"}, "") == "situ";
  if (capped)
    situ(i, "experts");
  else
    i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i, {"num_experts_per_token"});
  f32Logits(i);
  score(i, "sigmoid", {"moe_router_activation_func"});
  refuseUnless(i, "topk_method", "noaux_tc", "this family chooses by a bias");
  i.ignore({"use_grouped_topk"}); // the number of groups says it
  choiceBias(i, "block_sparse_moe.gate.e_score_correction_bias");
  if (i.flag("router.normalize", {"moe_renormalize"})) {
    i.put("router.normalize.kind", "sum", "moe_renormalize");
    i.fromFamily("router.normalize.eps", 1e-20);
  }
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  groups(i, "top2_sum");
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
  bool latent = i.has("routed_expert_hidden_size"), normed = i.flagOr({"latent_moe_use_norm"}, false);
  if (latent) {
    i.integer("experts.latent.dim", {"routed_expert_hidden_size"});
    i.weight("latent.in", "block_sparse_moe.routed_expert_down_proj.weight");
    i.weight("latent.out", "block_sparse_moe.routed_expert_up_proj.weight");
  }
  if (latent && normed)
    rmsNorm(i, "experts.latent.norm_out", "latent.norm_out_weight", "block_sparse_moe.routed_expert_norm.weight",
            "rms_norm_eps");
  if (wideShared(i, {"num_shared_experts"}, "block_sparse_moe.shared_experts.") && capped)
    situ(i, "shared");
}

// enable_moe_fp32_combine asks for sums in f32, which a spec has by default.
void hunyuanV3(I &i) {
  gatedExperts(i, {"moe_intermediate_size", "expert_hidden_dim"});
  topK(i);
  f32Logits(i);
  i.fromFamily("router.score", "sigmoid");
  i.ignore({"enable_moe_fp32_combine"});
  refuseUnless(i, "route_norm", true, "weights of this family are divided by their sum");
  refuseUnless(i, "moe_router_use_sigmoid", true, "only the sigmoid of this family was published");
  refuseUnless(i, "moe_router_enable_expert_bias", true, "this family chooses by a bias");
  choiceBias(i, "mlp.expert_bias");
  sumNorm(i, 1e-20);
  i.number("router.scale", {"router_scaling_factor"}, 1);
  i.weight("router.weight", "mlp.router.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts"}, "mlp.shared_mlp.");
}

void laguna(I &i) {
  gatedExperts(i, {"moe_intermediate_size"});
  topK(i);
  if (double cap = i.numberOr({"moe_router_logit_softcapping"}, 0); cap > 0)
    i.put("router.transform", OrderedJson::array({{{"op", "softcap"}, {"cap", cap}}}), "moe_router_logit_softcapping");
  score(i, "sigmoid", {"moe_router_score_func"});
  choiceBias(i, "mlp.experts.e_score_correction_bias");
  refuseUnless(i, "norm_topk_prob", true, "weights of this family are divided by their sum");
  sumNorm(i);
  i.number("router.scale", {"moe_routed_scaling_factor"}, 1);
  if (i.flagOr({"moe_apply_router_weight_on_input"}, false))
    i.put("combine.apply", "input", "moe_apply_router_weight_on_input");
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  i.integer("shared.intermediate", {"shared_expert_intermediate_size"});
  i.sharedBlock("mlp.shared_expert.", "gate_proj", "up_proj", "down_proj");
}

// Scores of what was chosen; routed and shared experts are added, or their mean is taken.
void cohere2(I &i) {
  gatedExperts(i, {"intermediate_size"});
  topK(i);
  if (!i.has("expert_selection_fn"))
    i.missing({"expert_selection_fn"}, "router.score");
  score(i, "softmax", {"expert_selection_fn"});
  i.fromFamily("router.score_over", "selected");
  if (i.wordOr({"expert_selection_fn"}, "") == "sigmoid")
    sumNormIfAsked(i);
  i.ignore({"norm_topk_prob"}); // a softmax of what was chosen has the sum 1
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  if (!wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.", {"intermediate_size"}))
    return i.ignore({"shared_expert_combination_strategy"});
  const char *key = "shared_expert_combination_strategy";
  if (!i.has(key))
    return i.missing({key}, "shared.scale");
  std::string strategy = i.wordOr({key}, "");
  if (strategy == "average") {
    i.put("router.scale", 0.5, key);
    i.put("shared.scale", 0.5, key);
  } else if (strategy != "sum") {
    i.fail("E-IMPORT-KEY", key, std::string(key) + " is neither sum nor average");
  }
}

} // namespace moec::families
