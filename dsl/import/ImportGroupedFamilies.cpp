// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Families whose router divides experts or tokens: a choice within every group of experts, experts for text and for
// images, shared experts that rows of the router weigh. Facts are those of the published modelling code.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

static void siluExperts(I &i, Keys width) {
  experts(i, {"num_experts"}, width);
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.weight("router.weight", "mlp.gate.weight");
  mlpExperts(i);
}

// One group is a plain choice.
void internPro(I &i) {
  siluExperts(i, {"moe_intermediate_size"});
  sumNormIfAsked(i, 1e-20);
  int64_t groups = i.integerOr({"router_n_groups"}, 0);
  if (groups <= 1)
    return;
  i.integer("router.groups.count", {"router_n_groups"});
  i.fromFamily("router.groups.choose", "each");
}

// As many groups as choices, one expert of each; weights are not divided, but have a learned factor.
void panguPro(I &i) {
  siluExperts(i, {"moe_intermediate_size"});
  i.integer("router.groups.count", {"num_experts_per_tok"});
  i.fromFamily("router.groups.choose", "each");
  i.fromFamily("router.expert_scale", true);
  i.weight("router.expert_scale", "mlp.router_scale");
  if (!i.writes("shared_expert_intermediate_size"))
    return i.missing({"shared_expert_intermediate_size"}, "shared");
  if (i.integerOr({"shared_expert_intermediate_size"}, 0) == 0)
    return;
  i.integer("shared.intermediate", {"shared_expert_intermediate_size"});
  i.sharedBlock("mlp.shared_expert.", "gate_proj", "up_proj", "down_proj");
}

// Rows of gate and up take turns in one tensor; those of the router end with one for each shared expert.
void inkling(I &i) {
  static const Keys width = {"moe_intermediate_size", "intermediate_size"};
  experts(i, {"n_routed_experts"}, width);
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i);
  i.fromFamily("router.score", "sigmoid");
  i.fromFamily("router.choice_bias", true);
  sumNorm(i);
  i.number("router.scale", {"route_scale"}, 1);
  i.fromFamily("router.global_scale", true);
  i.ignore({"rms_norm_eps_moe_gate"}); // the published code has no such norm
  refuseUnless(i, "gate_activation", "sigmoid", "only the sigmoid of this family was published");
  refuseUnless(i, "norm_after_topk", true, "weights of this family are divided by their sum");
  for (const char *key : {"use_gate_bias", "use_global_scale", "shared_expert_sink", "inference_moe_w13_interleaved"})
    refuseUnless(i, key, true, "all models of this family have it");
  i.integer("shared.intermediate", width);
  i.integer("shared.count", {"n_shared_experts"});
  i.fromFamily("shared.gate", "router");
  i.weight("router.weight", "mlp.gate.weight");
  i.weight("router.choice_bias", "mlp.gate.bias");
  i.weight("router.global_scale", "mlp.gate.global_scale");
  i.weight("experts.gate", "mlp.experts.w13_weight", "", "", "even");
  i.weight("experts.up", "mlp.experts.w13_weight", "", "", "odd");
  i.weight("experts.down", "mlp.experts.w2_weight");
  i.weight("shared.gate", "mlp.shared_experts.shared_w13_weight", "", "", "even");
  i.weight("shared.up", "mlp.shared_experts.shared_w13_weight", "", "", "odd");
  i.weight("shared.down", "mlp.shared_experts.shared_w2_weight");
}

// A number for text and one for images: a list of both, or one that both have. Null: an error.
static std::optional<std::pair<int64_t, int64_t>> forBothKinds(I &i, const char *key) {
  const Json *value = i.whole(key);
  if (!value) {
    i.missing({key}, "experts");
    return std::nullopt;
  }
  constexpr int64_t most = 1 << 20;
  auto isSize = [](const Json &one) {
    return one.is_number_integer() && one.get<int64_t>() >= 1 && one.get<int64_t>() <= most;
  };
  if (isSize(*value))
    return std::pair(value->get<int64_t>(), value->get<int64_t>());
  if (value->is_array() && value->size() == 2 && isSize((*value)[0]) && isSize((*value)[1]))
    return std::pair((*value)[0].get<int64_t>(), (*value)[1].get<int64_t>());
  i.fail("E-IMPORT-KEY", key, std::string(key) + " must be a number, or one for text and one for images");
  return std::nullopt;
}

// Tokens of text are group 0, those of images group 1; each kind has experts, a router and a bias of its own.
void ernieVl(I &i) {
  auto counts = forBothKinds(i, "moe_num_experts"), widths = forBothKinds(i, "moe_intermediate_size");
  if (!counts || !widths)
    return;
  if (counts->first != counts->second)
    return i.unsupported("moe_num_experts", "different numbers of experts for text and for images are not built",
                         "models with as many of one kind as of the other are supported");
  i.put("experts.count", 2 * counts->first, "moe_num_experts");
  OrderedJson list = OrderedJson::array();
  for (int64_t width : {widths->first, widths->second})
    for (int64_t e = 0; e < counts->first && counts->first <= 4096; ++e)
      list.push_back(width);
  i.put("experts.intermediate", widths->first == widths->second ? OrderedJson(widths->first) : list,
        "moe_intermediate_size");
  i.activation("experts.act", {"hidden_act"}, "silu");
  topK(i, {"moe_k"});
  f32Gate(i);
  i.fromFamily("router.choice_bias", true);
  i.fromFamily("router.token_groups.count", 2);
  i.fromFamily("router.token_groups.experts", "own");
  sumNorm(i, i.numberOr({"moe_norm_min"}, 1e-12), "floor");
  refuseUnless(i, "use_bias", false, "expert biases of this family were never published");
  i.quirk("moe_num_experts", "inputs.group_ids says which tokens are text (0) and which are images (1)",
          "router.token_groups");
  i.weight("router.group0.weight", "mlp.gate.weight", "", "in_out");
  i.weight("router.group1.weight", "mlp.gate.weight_1", "", "in_out");
  const char *bias = "mlp.moe_statics.e_score_correction_bias";
  i.weight("router.group0.choice_bias", bias, "", "", "first_half");
  i.weight("router.group1.choice_bias", bias, "", "", "second_half");
  mlpExperts(i);
  int64_t blocks = i.integerOr({"moe_num_shared_experts"}, 0);
  if (!i.writes("moe_num_shared_experts"))
    return i.missing({"moe_num_shared_experts"}, "shared");
  if (blocks == 0)
    return;
  i.put("shared.intermediate", blocks * widths->first, "moe_num_shared_experts * moe_intermediate_size");
  i.sharedBlock("mlp.shared_experts.", "gate_proj", "up_proj", "down_proj");
}

} // namespace moec::families
