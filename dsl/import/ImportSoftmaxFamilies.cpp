// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families that weigh experts by a softmax, or by what was chosen. Facts are those of the published modelling code.

#include "dsl/import/ImportPieces.h"

#include <cmath>

namespace moec::families {

// Training only, and in place: experts see it too.
static void layerJitter(I &i, const char *key) {
  double jitter = i.numberOr({key}, 0);
  if (jitter == 0)
    return;
  i.put("router.input.jitter", jitter, key);
  i.fromFamily("router.input.jitter_scope", "layer");
  i.quirk(key, "the noise on the input is in place, so that experts see it as the router does",
          "router.input.jitter_scope layer");
}

void mixtral(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  sumNorm(i);
  layerJitter(i, "router_jitter_noise");
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
}

void minimaxM2(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  score(i, "sigmoid");
  topK(i);
  f32Gate(i);
  sumNorm(i);
  layerJitter(i, "router_jitter_noise");
  if (!i.has("use_routing_bias") || i.flag("router.choice_bias", {"use_routing_bias"})) {
    i.put("router.choice_bias", true, i.has("use_routing_bias") ? "use_routing_bias" : "family " + i.out.family);
    i.weight("router.choice_bias", "block_sparse_moe.e_score_correction_bias");
  }
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
}

void phi(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  refuseUnless(i, "num_experts_per_tok", 2, "sparsemixer routes to 2 experts");
  i.fromFamily("router.select.kind", "sparsemixer");
  i.fromFamily("router.select.k", 2);
  const Json *eps = i.find({"router_jitter_noise"});
  if (!eps || !eps->is_number())
    return i.missing({"router_jitter_noise"}, "router.select.eps");
  i.put("router.select.eps", eps->get<double>(), "router_jitter_noise");
  i.quirk("router_jitter_noise",
          "router_jitter_noise is the margin of sparsemixer here, not noise; its first test compares with the logits, "
          "its second with the second best of them",
          "router.select.eps");
  layerJitter(i, "input_jitter_noise");
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
}

void arctic(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  if (i.integerOr({"num_experts_per_tok"}, 0) > 1)
    sumNorm(i);
  if (i.flag("shared", {"use_residual"})) { // a dense block as wide as a token, which has a norm of its own
    i.put("shared.intermediate", i.integerOr({"hidden_size"}, 1), "hidden_size");
    i.put("shared.input", "residual", "use_residual");
    i.sharedBlock("residual_mlp.", "w1", "w3", "w2");
  }
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
}

static void qwenExperts(I &i) {
  experts(i, {"num_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.weight("router.weight", "mlp.gate.weight");
}

void qwen2(I &i) {
  qwenExperts(i);
  if (i.has("norm_topk_prob"))
    sumNormIfAsked(i);
  if (!i.flagOr({"norm_topk_prob"}, false))
    keptRatios(i, "norm_topk_prob");
  mlpExperts(i);
  gatedShared(i);
}

void qwen3(I &i) {
  qwenExperts(i);
  sumNormIfAsked(i);
  mlpExperts(i);
}

void qwen3Omni(I &i) {
  qwenExperts(i);
  alwaysSum(i);
  mlpExperts(i);
}

void qwen3Next(I &i) {
  qwenExperts(i);
  sumNormIfAsked(i);
  mlpExperts(i);
  gatedShared(i);
}

void qwen35(I &i) {
  qwenExperts(i);
  alwaysSum(i);
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", "", "first_half");
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", "", "second_half");
  i.weight("experts.down", "mlp.experts.down_proj");
  gatedShared(i);
}

// The published checkpoints hold the experts stacked, in by out; code that loads them turns the axes around.
void qwen3Vl(I &i) {
  qwenExperts(i);
  alwaysSum(i);
  const char *axes = i.options.stacked ? "" : "in_out";
  i.stackedUsed = true;
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", axes, "first_half");
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", axes, "second_half");
  i.weight("experts.down", "mlp.experts.down_proj", "", axes);
}

void olmoe(I &i) {
  experts(i, {"num_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  if (i.has("norm_topk_prob"))
    sumNormIfAsked(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
}

void jamba(I &i) {
  if (i.integerOr({"num_experts"}, 0) == 1) // the published code builds a dense block then
    return i.fail("E-IMPORT-LAYER", "num_experts", "num_experts is 1: this model has no experts");
  experts(i, {"num_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.weight("router.weight", "feed_forward.router.weight");
  i.perExpert("feed_forward.experts.{e}.", "gate_proj", "up_proj", "down_proj");
}

// The key absent: the published 1; null: none.
static void dbrxNorm(I &i) {
  const char *key = "ffn_config.moe_normalize_expert_weights";
  if (i.writes(key) && !i.has(key))
    return;
  const Json *p = i.find({key});
  if (p && (!p->is_number() || p->get<double>() <= 0))
    return i.fail("E-IMPORT-KEY", key, std::string(key) + " must be a number above 0");
  std::string source = p ? key : "family " + i.out.family;
  i.put("router.normalize.kind", "lp", source);
  i.put("router.normalize.p", p ? p->get<double>() : 1.0, source);
}

void dbrx(I &i) {
  experts(i, {"ffn_config.moe_num_experts"}, {"ffn_config.ffn_hidden_size"});
  i.activation("experts.act", {"ffn_config.ffn_act_fn.name"}, "silu");
  topK(i, {"ffn_config.moe_top_k"});
  dbrxNorm(i);
  i.optionalNumber("router.input.jitter", {"ffn_config.moe_jitter_eps"}, 0);
  i.quirk("ffn_config",
          "some versions of the published code size the router by ffn_hidden_size and multiply by matrices that are "
          "not transposed",
          "router [E,H], w1 and v1 out by in, w2 in by out");
  i.weight("router.weight", "ffn.router.layer.weight");
  i.weight("experts.gate", "ffn.experts.mlp.w1", "flat_rows");
  i.weight("experts.up", "ffn.experts.mlp.v1", "flat_rows");
  i.weight("experts.down", "ffn.experts.mlp.w2", "flat_rows", "in_out");
}

void granite(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.fromFamily("router.score_over", "selected");
  // The checkpoints hold the experts stacked; code that loads them gives them other names.
  i.stackedUsed = true;
  const std::string at = "block_sparse_moe.",
                    joined = at + (i.options.stacked ? "experts.gate_up_proj" : "input_linear.weight");
  i.weight("router.weight", at + (i.options.stacked ? "router.weight" : "router.layer.weight"));
  i.weight("experts.gate", joined, "", "", "first_half");
  i.weight("experts.up", joined, "", "", "second_half");
  i.weight("experts.down", at + (i.options.stacked ? "experts.down_proj" : "output_linear.weight"));
  if (i.integerOr({"shared_intermediate_size"}, 0) > 0) {
    i.integer("shared.intermediate", {"shared_intermediate_size"});
    i.weight("shared.gate", "shared_mlp.input_linear.weight", "", "", "first_half");
    i.weight("shared.up", "shared_mlp.input_linear.weight", "", "", "second_half");
    i.weight("shared.down", "shared_mlp.output_linear.weight");
  }
}

void jetmoe(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"activation_function"}, "silu");
  topK(i);
  i.fromFamily("router.score_over", "selected");
  i.fromFamily("combine.bias", true);
  i.weight("router.weight", "mlp.router.layer.weight");
  i.weight("experts.gate", "mlp.input_linear.weight", "", "", "first_half");
  i.weight("experts.up", "mlp.input_linear.weight", "", "", "second_half");
  i.weight("experts.down", "mlp.output_linear.weight");
  i.weight("output.bias", "mlp.bias");
}

void aria(I &i) {
  experts(i, {"moe_num_experts"}, {"intermediate_size"});
  topK(i, {"moe_topk", "num_experts_per_tok"});
  i.fromFamily("router.score_over", "selected");
  wideShared(i, {"moe_num_shared_experts"}, "mlp.shared_experts.", {"intermediate_size"});
  refuseUnless(i, "mlp_bias", false, "shared experts with biases were never published");
  i.weight("router.weight", "mlp.router.weight");
  i.weight("experts.gate", "mlp.experts.fc1.weight", "", "in_out", "first_half");
  i.weight("experts.up", "mlp.experts.fc1.weight", "", "in_out", "second_half");
  i.weight("experts.down", "mlp.experts.fc2.weight", "", "in_out");
}

void clampedExperts(I &i, const char *gate, const char *up) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  topK(i);
  i.fromFamily("router.bias", true);
  i.fromFamily("router.score_over", "selected");
  if (i.has("swiglu_alpha"))
    i.number("experts.act_alpha", {"swiglu_alpha"}, 1);
  else
    i.fromFamily("experts.act_alpha", 1.702);
  refuseUnless(i, "hidden_act", "silu", "the gate of this family is x * sigmoid(alpha x)");
  i.fromFamily("experts.up_offset", 1);
  if (i.has("swiglu_limit"))
    i.number("experts.clamp.limit", {"swiglu_limit"}, 0);
  else
    i.fromFamily("experts.clamp.limit", 7);
  i.fromFamily("experts.bias.in", true);
  i.fromFamily("experts.bias.out", true);
  i.quirk("swiglu_limit", "the gate is limited from above only, the other branch on both sides", "experts.clamp");
  i.weight("router.weight", "mlp.router.weight");
  i.weight("router.bias", "mlp.router.bias");
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", "in_out", gate);
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", "in_out", up);
  i.weight("experts.down", "mlp.experts.down_proj", "", "in_out");
  i.weight("experts.gate_bias", "mlp.experts.gate_up_proj_bias", "", "", gate);
  i.weight("experts.up_bias", "mlp.experts.gate_up_proj_bias", "", "", up);
  i.weight("experts.down_bias", "mlp.experts.down_proj_bias");
}

void gptOss(I &i) { clampedExperts(i, "even", "odd"); }

void llama4(I &i) {
  i.ignore({"router_jitter_noise", "interleave_moe_layer_step"}); // the published code has no jitter
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.score_over", "selected");
  i.fromFamily("combine.apply", "input");
  i.put("shared.intermediate", i.integerOr({"intermediate_size"}, 1), "intermediate_size");
  i.weight("router.weight", "feed_forward.router.weight");
  i.weight("experts.gate", "feed_forward.experts.gate_up_proj", "", "in_out", "first_half");
  i.weight("experts.up", "feed_forward.experts.gate_up_proj", "", "in_out", "second_half");
  i.weight("experts.down", "feed_forward.experts.down_proj", "", "in_out");
  i.sharedBlock("feed_forward.shared_expert.", "gate_proj", "up_proj", "down_proj");
}

// The published checkpoint has one flat list of tensors; ports of the family's code name them as Mixtral does.
void grok1(I &i) {
  bool native = i.has("emb_size");
  experts(i, {"num_local_experts", "num_experts"}, {"moe_intermediate_size", "intermediate_size"});
  if (std::string act = i.wordOr({"hidden_act"}, "gelu"); act.rfind("gelu", 0) != 0)
    i.fail("E-IMPORT-KEY", "hidden_act", "hidden_act is not gelu: this family has the tanh form of gelu");
  i.fromFamily("experts.act", "gelu_tanh");
  topK(i, {"num_experts_per_tok", "num_selected_experts"});
  f32Logits(i);
  if (i.has("router_logit_softcapping")) {
    OrderedJson softcap = {{"op", "softcap"}, {"cap", i.numberOr({"router_logit_softcapping"}, 0)}};
    i.put("router.transform", OrderedJson::array({softcap}), "router_logit_softcapping");
  }
  keptRatios(i, "num_experts_per_tok");
  if (i.flagOr({"residual_moe"}, false)) { // (dense block + experts) / sqrt(2)
    i.integer("shared.intermediate", {"intermediate_size"});
    i.fromFamily("shared.act", "gelu_tanh");
    i.put("shared.scale", std::sqrt(0.5), "residual_moe");
    i.put("router.scale", std::sqrt(0.5), "residual_moe");
    i.sharedBlock("mlp.", "gate_proj", "up_proj", "down_proj");
  }
  if (!native) {
    i.weight("router.weight", "block_sparse_moe.gate.weight");
    return i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
  }
  i.out.prefix = "transformer/decoder_layer_" + std::to_string(i.layer()) + "/";
  i.weight("router.weight", "router/w", "", "in_out");
  i.weight("experts.gate", "moe/linear/w", "", "in_out");
  i.weight("experts.up", "moe/linear_v/w", "", "in_out");
  i.weight("experts.down", "moe/linear_1/w", "", "in_out");
}

// Product keys name E experts of one hidden value each, x·d_e and times u_e, beside a dense block.
void doge(I &i) {
  if (!i.flag("router", {"is_moe"}))
    return i.fail("E-IMPORT-LAYER", "is_moe", "is_moe is not true: this model has no experts");
  i.integer("experts.count", {"num_experts"});
  i.fromFamily("experts.intermediate", 1);
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"hidden_act"}, "silu");
  i.fromFamily("router.kind", "product_key");
  i.fromFamily("router.score_over", "selected");
  topK(i);
  sumNormIfAsked(i);
  i.quirk("num_experts",
          "some versions of the published code read the two halves of a token's logits from the logits of other tokens",
          "both halves of the token's own");
  refuseUnless(i, "mlp_bias", false, "a dense block with biases was never published");
  i.integer("shared.intermediate", {"intermediate_size"});
  i.weight("router.weight", "mlp.router_gate.weight");
  i.weight("experts.up", "mlp.down_embed.weight", "flat_rows");
  i.weight("experts.down", "mlp.up_embed.weight", "flat_rows", "in_out");
  i.sharedBlock("mlp.", "gate_proj", "up_proj", "down_proj");
}

} // namespace moec::families
