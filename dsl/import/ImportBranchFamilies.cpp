// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families that bound the branches of their experts or normalise what experts read and give. Facts are those of the
// published modelling code.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

// Values at or below 0 mean no limit, as a null entry of a list does.
void limit(I &i, const std::string &block, const char *key, const char *at) {
  const Json *value = i.find({key});
  if (!value || value->is_null())
    return;
  double most = i.numberOr({key}, 0);
  if (!(most > 0))
    return;
  i.put(block + ".clamp.limit", most, key);
  if (std::string(at) != "pre_act")
    i.fromFamily(block + ".clamp.at", at);
}

void rmsNorm(I &i, const std::string &path, const char *role, const std::string &tensor, const char *eps) {
  i.fromFamily(path + ".kind", "rms");
  if (i.has(eps))
    i.number((path + ".eps").c_str(), {eps}, 1e-5);
  else
    i.missing({eps}, (path + ".eps").c_str());
  i.weight(role, tensor);
}

void situ(I &i, const std::string &block) {
  double gate = i.numberOr({"activation_situ_beta"}, 1);
  i.put(block + ".softcap.gate", gate == 0 ? 1 : gate,
        i.has("activation_situ_beta") ? "activation_situ_beta" : "family " + i.out.family);
  if (i.has("activation_situ_linear_beta"))
    i.put(block + ".softcap.up", i.numberOr({"activation_situ_linear_beta"}, 0), "activation_situ_linear_beta");
}

// Where the config has no limit, the family's code has none of its own.
static void requiredLimit(I &i) {
  if (!i.writes("swiglu_limit"))
    i.missing({"swiglu_limit"}, "experts.clamp.limit");
}

void glm5Next(I &i) {
  deepseekV3(i);
  requiredLimit(i);
  limit(i, "experts", "swiglu_limit");
  if (i.spec.contains("shared"))
    limit(i, "shared", "swiglu_limit");
}

// The shared experts have no limit; a checkpoint holds the experts stacked.
void hunyuanV4(I &i) {
  deepseekV3(i);
  requiredLimit(i);
  limit(i, "experts", "swiglu_limit");
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", "", "first_half");
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", "", "second_half");
  i.weight("experts.down", "mlp.experts.down_proj");
}

// v sigmoid(alpha v) behind a limit, and an up branch with an offset; hidden_act is read by nothing.
static void swigluOai(I &i, const char *block) {
  std::string path = std::string(block) + ".";
  i.number((path + "act_alpha").c_str(), {"swiglu_alpha"}, 1);
  i.fromFamily(path + "up_offset", 1);
  limit(i, block, "swiglu_limit");
}

void minimaxM3(I &i) {
  experts(i, {"num_local_experts"}, {"intermediate_size"});
  i.ignore({"moe_intermediate_size"});
  if (std::string act = i.wordOr({"hidden_act"}, "swigluoai"); act != "swigluoai" && act != "silu")
    i.fail("E-IMPORT-KEY", "hidden_act",
           "hidden_act is neither swigluoai nor silu, which mean the same in this family");
  requiredLimit(i);
  swigluOai(i, "experts");
  topK(i);
  score(i, "sigmoid");
  refuseUnless(i, "use_routing_bias", true, "this family chooses by a bias");
  i.fromFamily("router.choice_bias", true);
  sumNorm(i);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  refuseUnless(i, "n_shared_experts", 1, "several shared experts of this family were never published");
  i.integer("shared.intermediate", {"shared_intermediate_size"});
  swigluOai(i, "shared");
  i.weight("router.weight", "block_sparse_moe.gate.weight");
  i.weight("router.choice_bias", "block_sparse_moe.e_score_correction_bias");
  i.perExpert("block_sparse_moe.experts.{e}.", "w1", "w3", "w2");
  i.sharedBlock("block_sparse_moe.shared_experts.", "gate_proj", "up_proj", "down_proj");
}

// Experts in a space of their own, whose norms have the factor 1 + weight; that of the outputs multiplies before it.
void museSpark(I &i) {
  experts(i, {"num_local_experts"}, {"moe_intermediate_size"});
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  f32Logits(i);
  if (double factor = i.numberOr({"output_multiplier"}, 1); !i.has("output_multiplier") || !(factor > 0))
    i.fail("E-IMPORT-KEY", "output_multiplier", "output_multiplier, the factor of the logits, must be above 0");
  else
    i.put("router.transform", OrderedJson::array({{{"op", "temperature"}, {"value", 1 / factor}}}),
          "1 / output_multiplier");
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.choice_bias", true);
  sumNorm(i, 1e-15);
  i.number("router.scale", {"routed_scaling_factor"}, 1);
  i.integer("experts.latent.dim", {"moe_hidden_size"});
  rmsNorm(i, "experts.latent.norm_in", "latent.norm_in_weight", "mlp.pre_expert_norm.weight", "rms_norm_eps");
  i.fromFamily("experts.latent.norm_in.unit_offset", true);
  rmsNorm(i, "experts.norm_out", "experts.norm_weight", "mlp.experts.post_expert_norm.weight", "post_norm_eps");
  i.fromFamily("experts.norm_out.unit_offset", true);
  i.fromFamily("experts.norm_out.weight_at", "before");
  i.fromFamily("experts.norm_out.per_expert", false);
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.gate.e_score_correction_bias");
  i.weight("latent.in", "mlp.pre_expert_proj.weight");
  i.weight("latent.out", "mlp.post_expert_proj.weight");
  i.weight("experts.gate", "mlp.experts.gate_up_proj", "", "", "first_half");
  i.weight("experts.up", "mlp.experts.gate_up_proj", "", "", "second_half");
  i.weight("experts.down", "mlp.experts.down_proj");
}

void axk1(I &i) {
  deepseekV3(i);
  rmsNorm(i, "combine.norm_out", "output.norm_weight", "post_mlp_layernorm.weight", "rms_norm_eps");
}

// Gate and up of an expert are even and odd rows of one matrix.
void inkling2(I &i) {
  experts(i, {"n_routed_experts"}, {"moe_intermediate_size"});
  refuseUnless(i, "hidden_act", "silu", "the gate of this family is a sigmoid beside a soft cap");
  i.number("experts.softcap.gate", {"mlp_gate_softcap"}, 0);
  i.number("experts.softcap.up", {"mlp_up_softcap"}, 0);
  topK(i);
  f32Logits(i);
  if (!i.has("scoring_func"))
    i.missing({"scoring_func"}, "router.score");
  score(i, "sigmoid");
  i.fromFamily("router.choice_bias", true);
  sumNorm(i, 1e-20);
  i.number("router.scale", {"route_scale", "routed_scaling_factor"}, 1);
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.gate.bias");
  i.weight("experts.gate", "mlp.experts.w13_weight", "", "", "even");
  i.weight("experts.up", "mlp.experts.w13_weight", "", "", "odd");
  i.weight("experts.down", "mlp.experts.w2_weight");
}

} // namespace moec::families
