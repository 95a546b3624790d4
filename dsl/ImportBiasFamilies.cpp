// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families with shared experts, group limits, choice biases or capacities of their own. Facts are those of the published
// modelling code.

#include "dsl/ImportPieces.h"

#include <cmath>

namespace moec::families {

static void deepseekExperts(I &i) {
  experts(i, {"n_routed_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  wideShared(i, {"n_shared_experts"}, "mlp.shared_experts.");
}

void deepseekV1(I &i) {
  deepseekExperts(i);
  sumNormIfAsked(i, 1e-20);
}

void deepseekV2(I &i) {
  deepseekExperts(i);
  f32Logits(i);
  std::string method = i.wordOr({"topk_method"}, "");
  if (method.empty())
    return i.missing({"topk_method"}, "router.groups");
  if (method == "group_limited_greedy")
    groups(i, "max");
  else if (method != "greedy")
    i.fail("E-IMPORT-KEY", "topk_method", "topk_method is neither greedy nor group_limited_greedy");
  bool norm = i.flagOr({"norm_topk_prob"}, false);
  if (norm) {
    i.put("router.normalize.kind", "sum", "norm_topk_prob");
    i.fromFamily("router.normalize.eps", 1e-20);
    i.quirk("norm_topk_prob", "the authors' code leaves out routed_scaling_factor where it normalises", "router.scale 1");
  } else {
    i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  }
}

// Sigmoid scores, a bias that chooses, weights divided by their sum.
static void correctedSigmoid(I &i, const char *bias, double eps = 1e-20) {
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.choice_bias", true);
  i.weight("router.choice_bias", bias);
  if (!i.has("norm_topk_prob") || i.flagOr({"norm_topk_prob"}, true))
    sumNorm(i, eps);
  i.optionalNumber("router.scale", {"routed_scaling_factor", "route_scale", "router_scaling_factor"}, 1);
}

void deepseekV3(I &i) {
  deepseekExperts(i);
  f32Logits(i);
  correctedSigmoid(i, "mlp.gate.e_score_correction_bias");
  groups(i, "top2_sum");
}

void glm(I &i) { deepseekV3(i); }

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

void deepseekV4(I &i) {
  deepseekExperts(i);
  f32Logits(i);
  i.put("router.score", i.wordOr({"scoring_func"}, "sqrtsoftplus"), i.has("scoring_func") ? "scoring_func" : "family " + i.out.family);
  sumNorm(i, 1e-20);
  i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  if (i.has("swiglu_limit"))
    i.put("experts.clamp.limit", i.numberOr({"swiglu_limit"}, 10), "swiglu_limit");
  if (i.layer() < i.integerOr({"num_hash_layers"}, 3)) {
    i.fromFamily("router.kind", "table");
    i.integer("router.vocab", {"vocab_size"});
    i.weight("router.table", "mlp.gate.tid2eid");
    return;
  }
  i.fromFamily("router.choice_bias", true);
  i.weight("router.choice_bias", "mlp.gate.e_score_correction_bias");
}

void lfm2(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.fromFamily("router.score", "sigmoid");
  topK(i);
  if (i.flagOr({"norm_topk_prob"}, true))
    sumNorm(i, 1e-6);
  if (i.flagOr({"use_expert_bias"}, false)) {
    i.put("router.choice_bias", true, "use_expert_bias");
    i.weight("router.choice_bias", "feed_forward.expert_bias");
  }
  i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  i.weight("router.weight", "feed_forward.gate.weight");
  i.perExpert("feed_forward.experts.{e}.", "w1", "w3", "w2");
}

void afmoe(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  correctedSigmoid(i, "mlp.expert_bias");
  i.weight("router.weight", "mlp.router.gate.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.");
}

void bailing(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  std::string score = i.wordOr({"score_function"}, "softmax");
  if (score != "softmax" && score != "sigmoid")
    return i.fail("E-IMPORT-KEY", "score_function", "score_function is neither softmax nor sigmoid");
  i.put("router.score", score, i.has("score_function") ? "score_function" : "family " + i.out.family);
  if (i.flagOr({"norm_topk_prob"}, false)) {
    i.put("router.normalize.kind", "sum", "norm_topk_prob");
    i.fromFamily("router.normalize.eps", 1e-20);
  }
  if (i.flagOr({"moe_router_enable_expert_bias"}, false)) {
    i.put("router.choice_bias", true, "moe_router_enable_expert_bias");
    i.weight("router.choice_bias", "mlp.gate.expert_bias");
  }
  groups(i, "top2_sum");
  i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  if (i.has("moe_shared_expert_intermediate_size")) {
    i.integer("shared.intermediate", {"moe_shared_expert_intermediate_size"});
    i.sharedBlock("mlp.shared_experts.", "gate_proj", "up_proj", "down_proj");
  } else {
    wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.");
  }
}

void ernie(I &i) {
  experts(i, {"moe_num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i, {"moe_k"});
  f32Logits(i);
  i.fromFamily("router.choice_bias", true);
  i.fromFamily("router.normalize.kind", "sum");
  i.put("router.normalize.eps", i.numberOr({"moe_norm_min"}, 1e-12), i.has("moe_norm_min") ? "moe_norm_min" : "family " + i.out.family);
  i.fromFamily("router.normalize.eps_mode", "floor");
  if (i.flagOr({"use_bias"}, false))
    i.fail("E-IMPORT-KEY", "use_bias", "use_bias true is not understood: expert biases of this family were never published");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.moe_statics.e_score_correction_bias");
  mlpExperts(i);
  wideShared(i, {"moe_num_shared_experts"}, "mlp.shared_experts.");
}

void hunyuan(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size", "intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i, {"moe_topk"});
  f32Logits(i);
  sumNorm(i);
  int64_t shared = i.integerOr({"num_shared_expert"}, 1);
  i.put("shared.intermediate", shared * i.integerOr({"intermediate_size"}, 1), "num_shared_expert * intermediate_size");
  i.sharedBlock("mlp.shared_mlp.", "gate_proj", "up_proj", "down_proj");
  i.weight("router.weight", "mlp.gate.wg.weight");
  mlpExperts(i);
}

void longcat(I &i) {
  experts(i, {"n_routed_experts"}, {"expert_ffn_hidden_size"});
  topK(i, {"moe_topk"});
  f32Logits(i);
  i.fromFamily("router.choice_bias", true);
  i.optionalNumber("router.scale", {"routed_scaling_factor"}, 1);
  int64_t zero = i.integerOr({"zero_expert_num"}, 0);
  if (zero > 0) {
    i.put("experts.zero.count", zero, "zero_expert_num");
    std::string kind = i.wordOr({"zero_expert_type"}, "identity");
    if (kind != "identity")
      i.fail("E-IMPORT-KEY", "zero_expert_type", "zero_expert_type is not identity, the only kind this family published");
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
  f32Logits(i);
  correctedSigmoid(i, "mixer.gate.e_score_correction_bias");
  groups(i, "top2_sum");
  if (i.integerOr({"moe_latent_size"}, 0) > 0) {
    i.put("experts.latent.dim", i.integerOr({"moe_latent_size"}, 1), "moe_latent_size");
    i.weight("latent.in", "mixer.fc1_latent_proj.weight");
    i.weight("latent.out", "mixer.fc2_latent_proj.weight");
  }
  i.weight("router.weight", "mixer.gate.weight");
  i.perExpert("mixer.experts.{e}.", nullptr, "up_proj", "down_proj");
  if (i.integerOr({"n_shared_experts"}, 1) > 0 && i.has("moe_shared_expert_intermediate_size")) {
    i.integer("shared.intermediate", {"moe_shared_expert_intermediate_size"});
    i.fromFamily("shared.form", "mlp");
    i.activation("shared.act", {"mlp_hidden_act"}, "relu2");
    i.sharedBlock("mixer.shared_experts.", nullptr, "up_proj", "down_proj");
  }
}

void gemma4(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_activation"}, "gelu_tanh");
  topK(i, {"top_k_experts"});
  f32Logits(i);
  sumNorm(i);
  i.fromFamily("router.expert_scale", true);
  i.fromFamily("router.input.from", "residual");
  i.fromFamily("router.input.norm.kind", "rms");
  i.put("router.input.norm.eps", i.numberOr({"rms_norm_eps"}, 1e-6), i.has("rms_norm_eps") ? "rms_norm_eps" : "family " + i.out.family);
  i.put("router.input.norm.scale", 1 / std::sqrt(double(i.integerOr({"hidden_size"}, 1))), "hidden_size ^ -1/2");
  i.fromFamily("router.input.norm.weight", true);
  i.quirk("num_experts", "a dense block runs beside the experts with norms of its own, outside of this layer", "no shared experts");
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
  if (i.flagOr({"norm_topk_prob"}, true))
    sumNorm(i);
  wideShared(i, {"n_shared_experts"}, "mlp.shared_experts.");
  i.fromFamily("shared.gate", "softmax2");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.expert_bias");
  i.weight("shared.gate_weight", "mlp.coefficient.weight");
  i.weight("shared.gate_bias", "mlp.coefficient.bias");
  mlpExperts(i);
}

void switchTransformers(I &i) {
  experts(i, {"num_experts"}, {"d_ff"});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"dense_act_fn"}, "relu");
  i.fromFamily("router.top_k", 1);
  f32Logits(i);
  i.optionalNumber("router.input.jitter", {"router_jitter_noise"}, 0);
  i.fromFamily("capacity.mode", "fixed");
  i.integer("capacity.value", {"expert_capacity"});
  i.fromFamily("capacity.scope", "sequence");
  i.quirk("expert_capacity", "some versions of the published code count the capacity along an axis of length 1 and drop nothing",
          "capacity per sequence, in token order");
  i.weight("router.weight", "mlp.router.classifier.weight");
  i.perExpert("mlp.experts.expert_{e}.", nullptr, "wi", "wo");
}

void nllb(I &i) {
  experts(i, {"num_experts"}, {"decoder_ffn_dim", "encoder_ffn_dim"});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"activation_function"}, "relu");
  i.fromFamily("experts.bias.in", true);
  i.fromFamily("experts.bias.out", true);
  i.fromFamily("router.top_k", 2);
  f32Logits(i);
  i.fromFamily("router.normalize.kind", "sum");
  i.fromFamily("router.normalize.eps", 1.1920928955078125e-07);
  i.fromFamily("router.normalize.eps_mode", "floor");
  double dropout = i.numberOr({"moe_token_dropout"}, 0.2);
  i.put("experts.output_scale", 1 - dropout, i.has("moe_token_dropout") ? "1 - moe_token_dropout" : "family " + i.out.family);
  double fraction = i.numberOr({"moe_eval_capacity_token_fraction"}, 1.0);
  if (fraction > 0 && fraction <= 1) {
    i.fromFamily("capacity.mode", "fraction");
    i.put("capacity.value", fraction, "moe_eval_capacity_token_fraction");
  } else {
    i.fromFamily("capacity.mode", "fixed");
    i.integer("capacity.value", {"expert_capacity"});
  }
  i.put("capacity.normalize_at", i.flagOr({"normalize_router_prob_before_dropping"}, false) ? "before" : "after",
        "normalize_router_prob_before_dropping");
  i.weight("router.weight", "ffn.router.classifier.weight");
  i.perExpert("ffn.experts.expert_{e}.", nullptr, "fc1", "fc2");
  i.weight("experts.up_bias", "ffn.experts.expert_{e}.fc1.bias", "per_expert");
  i.weight("experts.down_bias", "ffn.experts.expert_{e}.fc2.bias", "per_expert");
}

} // namespace moec::families
