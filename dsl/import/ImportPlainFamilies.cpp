// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families that weigh experts by a softmax, or by what was chosen, with keys, blocks or names of their own. Facts are
// those of the published modelling code.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

static void siluExperts(I &i, Keys count, Keys width) {
  experts(i, count, width);
  i.activation("experts.act", {"hidden_act"}, "silu");
}

// The next generation of qwen3_next.
void qwen4(I &i) {
  siluExperts(i, {"num_experts"}, {"moe_intermediate_size"});
  topK(i);
  if (!i.has("norm_topk_prob"))
    sumNorm(i);
  else
    sumNormIfAsked(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
  gatedShared(i);
}

// Probabilities as they are; keys of other routers stand in the config without any code behind them.
void llada(I &i) {
  siluExperts(i, {"num_experts"}, {"expert_intermediate_size"});
  topK(i);
  refuseUnless(i, "moe_router_score_function", "softmax", "only the softmax of this family was published");
  refuseUnless(i, "moe_router_enable_expert_bias", false, "a bias of this family was never published");
  refuseUnless(i, "shared_expert_intermediate_size", nullptr, "shared experts of this family were never published");
  refuseUnless(i, "routed_scaling_factor", 1, "a scale of this family was never published");
  if (i.flagOr({"norm_topk_prob"}, false))
    i.quirk("norm_topk_prob", "norm_topk_prob is true, but the published code of this family never divides",
            "router.normalize none");
  i.ignore({"router_num_group", "router_topk_group"});
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
}

void miniCpm(I &i) {
  siluExperts(i, {"num_experts"}, {"intermediate_size"});
  topK(i);
  sumNorm(i);
  i.weight("router.weight", "mlp.gate.weight");
  i.perExpert("mlp.experts.{e}.", "w1", "w3", "w2");
}

void xverse(I &i) {
  siluExperts(i, {"num_experts"}, {"intermediate_size"});
  topK(i, {"moe_top_k"});
  if (i.has("norm_topk_prob"))
    sumNormIfAsked(i);
  else
    i.fail("E-IMPORT-KEY", "norm_topk_prob",
           "published implementations of " + i.out.family +
               " divide the weights by their sum or do not, and the config does not say which",
           "add norm_topk_prob, true or false, to the config");
  i.weight("router.weight", "mlp.router.weight");
  mlpExperts(i);
  wideShared(i, {"num_shared_experts"}, "mlp.shared_experts.", {"intermediate_size"});
}

void iquest(I &i) {
  siluExperts(i, {"num_experts"}, {"intermediate_size"});
  topK(i);
  refuseUnless(i, "moe_router_dtype", "fp32", "logits of this family are f32");
  f32Logits(i);
  sumNorm(i);
  if (i.has("ffn_out_scale"))
    i.quirk("ffn_out_scale", "the block around this layer multiplies its output by ffn_out_scale",
            "no scale of this layer");
  i.weight("router.weight", "mlp.router.weight");
  i.weight("experts.gate", "mlp.experts.fc", "", "", "first_half");
  i.weight("experts.up", "mlp.experts.fc", "", "", "second_half");
  i.weight("experts.down", "mlp.experts.proj");
}

// The first step model: every expert and the block beside them in full, experts stacked under one name each.
void step3(I &i) {
  siluExperts(i, {"moe_num_experts"}, {"moe_intermediate_size"});
  topK(i, {"moe_top_k"});
  if (i.flag("router.normalize", {"norm_expert_weight"}))
    i.put("router.normalize.kind", "sum", "norm_expert_weight");
  i.integer("shared.intermediate", {"share_expert_dim"});
  i.sharedBlock("share_expert.", "gate_proj", "up_proj", "down_proj");
  i.weight("router.weight", "moe.gate.weight");
  i.weight("experts.gate", "moe.gate_proj.weight");
  i.weight("experts.up", "moe.up_proj.weight");
  i.weight("experts.down", "moe.down_proj.weight");
}

// gpt_oss in f32, with halves in place of alternating columns. The code divides the weights by the number of choices
// and multiplies the sum by it.
void privacyFilter(I &i) {
  f32Logits(i);
  clampedExperts(i, "first_half", "second_half");
}

// A value that configs of this family leave out because the class of the code has it.
static void orPublished(I &i, const char *path, const char *key, int64_t published) {
  if (i.has(key))
    i.integer(path, {key});
  else
    i.fromFamily(path, published);
}

void moondream(I &i) {
  orPublished(i, "experts.count", "config.text.moe.n_experts", 64);
  orPublished(i, "experts.intermediate", "config.text.moe.expert_inner_dim", 1024);
  orPublished(i, "router.top_k", "config.text.moe.n_experts_per_tok", 8);
  i.fromFamily("experts.act", "gelu");
  i.fromFamily("experts.up_offset", 1);
  i.fromFamily("router.bias", true);
  i.fromFamily("router.score_over", "selected");
  i.quirk("model_type", "dense blocks of this model have the tanh form of gelu, its experts the exact one",
          "experts.act gelu");
  i.weight("router.weight", "mlp.router.weight");
  i.weight("router.bias", "mlp.router.bias");
  i.weight("experts.gate", "mlp.fc1.weight", "", "", "first_half");
  i.weight("experts.up", "mlp.fc1.weight", "", "", "second_half");
  i.weight("experts.down", "mlp.fc2.weight");
}

// Plain experts and one bias for all of them, which is added to their sum.
void nomicBert(I &i) {
  experts(i, {"num_experts"}, {"n_inner"});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"activation_function"});
  topK(i, {"moe_top_k"});
  refuseUnless(i, "moe_normalize_expert_weights", false, "weights of this family are not divided");
  refuseUnless(i, "expert_choice_router", false, "tokens of this family choose");
  refuseUnless(i, "num_shared_experts", 0, "shared experts of this family were never published");
  refuseUnless(i, "ffn_div", 1, "experts of this family have the width n_inner");
  i.ignore({"moe_impl", "moe_resid_pdrop"});
  i.fromFamily("combine.bias", true);
  i.weight("router.weight", "mlp.router.layer.weight");
  i.weight("experts.up", "mlp.experts.mlp.w1", "flat_rows");
  i.weight("experts.down", "mlp.experts.mlp.w2", "flat_rows", "in_out");
  i.weight("output.bias", "mlp.experts.bias");
}

// The router reads what the whole block reads, before its attention, so that experts can be fetched meanwhile.
void smallThinker(I &i) {
  experts(i, {"moe_num_primary_experts", "num_experts"}, {"moe_ffn_hidden_size", "moe_intermediate_size"});
  i.fromFamily("experts.act", "relu");
  topK(i, {"moe_num_active_primary_experts", "num_experts_per_tok"});
  i.fromFamily("router.score_over", "selected");
  const char *softmax = "moe_primary_router_apply_softmax";
  if (!i.flagOr({softmax}, false)) {
    i.put("router.score", "sigmoid", i.has(softmax) ? softmax : "family " + i.out.family);
    alwaysSum(i);
  }
  i.ignore({"norm_topk_prob"}); // a softmax of what was chosen has the sum 1
  if (i.flagOr({"moe_enable_early_router"}, true)) {
    i.fromFamily("router.input.from", "residual");
    i.quirk("model_type", "the router reads the input of the decoder layer, before its norm and its attention",
            "router.input.from residual: give that input as the residual");
  }
  refuseUnless(i, "moe_shared_primary_experts", 0, "shared experts of this family were never published");
  i.ignore({"moe_enable_secondary_experts", "moe_num_secondary_experts", "moe_secondary_expert_size"});
  i.weight("router.weight", "block_sparse_moe.primary_router.weight");
  i.perExpert("block_sparse_moe.experts.{e}.", "gate", "up", "down");
}

} // namespace moec::families
