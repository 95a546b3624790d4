// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Encoder-decoder families: plain experts with a capacity. Facts are those of the published modelling code.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

// The router's own bias and the precision of its logits.
static void classifier(I &i, const std::string &stem) {
  f32Logits(i);
  refuseUnless(i, "router_dtype", "float32", "logits of this family are f32");
  i.weight("router.weight", stem + "router.classifier.weight");
  if (!i.flagOr({"router_bias"}, false))
    return;
  i.put("router.bias", true, "router_bias");
  i.weight("router.bias", stem + "router.classifier.bias");
}

static void fixedCapacity(I &i) {
  i.fromFamily("capacity.mode", "fixed");
  if (i.has("expert_capacity"))
    i.integer("capacity.value", {"expert_capacity"});
  else
    i.fromFamily("capacity.value", 64);
}

void switchTransformers(I &i) {
  experts(i, {"num_experts"}, {"d_ff"});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"dense_act_fn"}, "relu");
  i.fromFamily("router.top_k", 1);
  i.optionalNumber("router.input.jitter", {"router_jitter_noise"}, 0);
  i.optionalNumber("experts.hidden_dropout.p", {"dropout_rate"}, 0);
  fixedCapacity(i);
  i.fromFamily("capacity.scope", "sequence");
  i.quirk("expert_capacity",
          "some versions of the published code count the capacity along an axis of length 1 and drop nothing",
          "capacity per sequence, in token order");
  if (i.options.decoder)
    i.out.prefix = "decoder.block." + std::to_string(i.layer()) + ".layer.2.";
  classifier(i, "mlp.");
  i.perExpert("mlp.experts.expert_{e}.", nullptr, "wi", "wo");
}

// At inference a fraction of the batch's tokens, where the config gives one above 0.
static void nllbCapacity(I &i) {
  const char *key = "moe_eval_capacity_token_fraction";
  double fraction = i.numberOr({key}, 0);
  if (!i.has(key))
    i.missing({key}, "capacity");
  if (fraction > 0) {
    i.ignore({"expert_capacity"});
    i.fromFamily("capacity.mode", "fraction");
    i.put("capacity.value", fraction, key);
  } else {
    fixedCapacity(i);
  }
  bool before = i.flag("capacity.normalize_at", {"normalize_router_prob_before_dropping"});
  i.put("capacity.normalize_at", before ? "before" : "after", "normalize_router_prob_before_dropping");
  refuseUnless(i, "second_expert_policy", "all", "second experts by chance are for training");
  refuseUnless(i, "batch_prioritized_routing", false, "tokens of this family are served in their order");
  i.quirk("expert_capacity", "some versions of the published code take a mask of 0 and 1 for ids of experts",
          "all first choices in token order, then all second ones");
}

void nllb(I &i) {
  const char *width = i.options.decoder ? "decoder_ffn_dim" : "encoder_ffn_dim";
  experts(i, {"num_experts"}, {width});
  i.fromFamily("experts.form", "mlp");
  i.activation("experts.act", {"activation_function"}, "relu");
  i.fromFamily("experts.bias.in", true);
  i.fromFamily("experts.bias.out", true);
  i.fromFamily("router.top_k", 2);
  i.fromFamily("router.normalize.kind", "sum");
  i.fromFamily("router.normalize.eps", 1.1920928955078125e-07);
  i.fromFamily("router.normalize.eps_mode", "floor");
  double dropout = i.numberOr({"moe_token_dropout"}, -1);
  if (dropout < 0 || dropout >= 1)
    i.fail("E-IMPORT-KEY", "moe_token_dropout",
           "the config has no moe_token_dropout from 0 to below 1, which experts.output_scale needs",
           "use the config.json of the checkpoint itself: class defaults differ from what is published");
  else if (dropout > 0)
    i.put("experts.output_scale", 1 - dropout, "1 - moe_token_dropout");
  nllbCapacity(i);
  i.out.prefix = std::string(i.options.decoder ? "model.decoder.layers." : "model.encoder.layers.") +
                 std::to_string(i.layer()) + ".";
  classifier(i, "ffn.");
  i.perExpert("ffn.experts.expert_{e}.", nullptr, "fc1", "fc2");
  i.weight("experts.up_bias", "ffn.experts.expert_{e}.fc1.bias", "per_expert");
  i.weight("experts.down_bias", "ffn.experts.expert_{e}.fc2.bias", "per_expert");
}

} // namespace moec::families
