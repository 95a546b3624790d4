// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Blocks of keys and weights.

#include "dsl/import/ImportPieces.h"

namespace moec::families {

void experts(I &i, Keys count, Keys width) {
  std::string key;
  if (const Json *number = i.find(count, &key); number && *number == 0)
    return i.fail("E-IMPORT-LAYER", key, key + " is 0: this model has no experts");
  i.integer("experts.count", count);
  i.integer("experts.intermediate", width);
}

void topK(I &i, Keys keys) { i.integer("router.top_k", keys); }

void sumNorm(I &i, double eps, const char *mode) {
  i.fromFamily("router.normalize.kind", "sum");
  if (eps != 0)
    i.fromFamily("router.normalize.eps", eps);
  if (*mode)
    i.fromFamily("router.normalize.eps_mode", mode);
}

void sumNormIfAsked(I &i, double eps, bool above1) {
  if (!i.flag("router.normalize", {"norm_topk_prob"}) || (above1 && i.integerOr({"num_experts_per_tok"}, 0) == 1))
    return;
  i.put("router.normalize.kind", "sum", "norm_topk_prob");
  if (eps != 0)
    i.fromFamily("router.normalize.eps", eps);
}

// Absent or 1: no groups. Where a bias chooses, a score of 0 could win against one of a kept group.
void groups(I &i, const char *score) {
  i.ignore({"topk_group"}); // a config without groups may still have it
  static const Keys count = {"n_group", "num_expert_group"};
  if (!i.has(count) || i.integerOr(count, 1) == 1)
    return;
  i.integer("router.groups.count", count);
  i.integer("router.groups.keep", {"topk_group"});
  i.fromFamily("router.groups.score", score);
  bool biased = i.spec["router"].contains("choice_bias");
  if (i.options.maskedNegInf.value_or(biased))
    i.put("router.groups.masked", "neg_inf", i.options.maskedNegInf ? "--masked-groups" : "family " + i.out.family);
  if (biased && !i.options.maskedNegInf)
    i.quirk("n_group",
            "experts of groups that are not kept score -inf in the published code and 0 in transformers before 5.4 and "
            "in mlx, which differs where a kept score with its bias is not above 0",
            "router.groups.masked neg_inf; --masked-groups zero is the other");
}

void score(I &i, const char *family, Keys keys) {
  std::string key;
  if (!i.find(keys, &key))
    return i.fromFamily("router.score", family);
  std::string word = i.wordOr(keys, "");
  if (word != "softmax" && word != "sigmoid" && word != "sqrtsoftplus")
    return i.fail("E-IMPORT-KEY", key, key + " must be softmax, sigmoid or sqrtsoftplus");
  i.put("router.score", word, key);
}

void routerDtype(I &i) {
  std::string key;
  if (!i.find({"router_dtype", "moe_router_dtype"}, &key))
    return;
  std::string word = i.wordOr({key.c_str()}, "");
  if (word == "fp32" || word == "float32")
    i.put("router.logit_dtype", "f32", key);
  else if (word != "bf16" && word != "bfloat16")
    i.fail("E-IMPORT-KEY", key, key + " must be fp32 or bf16");
}

void alwaysSum(I &i, double eps) {
  sumNorm(i, eps);
  if (!i.flagOr({"norm_topk_prob"}, true))
    i.quirk("norm_topk_prob", "norm_topk_prob is false, but the published code of this family always divides",
            "router.normalize sum");
}

void mlpExperts(I &i) { i.perExpert("mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj"); }

// One block of n times the experts' width, ungated. 0 or null: none. Absent: not assumed.
bool wideShared(I &i, Keys count, const std::string &stem, Keys width, BlockNames names) {
  bool written = false;
  for (const char *key : count)
    written |= i.writes(key);
  if (!written) {
    i.missing(count, "shared");
    return false;
  }
  std::string key, widthKey = *width.begin();
  const Json *value = i.find(count, &key);
  i.find(width, &widthKey);
  if (!value || *value == 0)
    return false;
  constexpr int64_t most = 1 << 20;
  int64_t each = i.integerOr(width, 0), blocks = value->is_number_integer() ? value->get<int64_t>() : 0;
  if (blocks < 1 || blocks > most || each < 1 || each > most) {
    i.fail("E-IMPORT-KEY", key, key + " and " + widthKey + " give no width of shared experts");
    return false;
  }
  i.put("shared.intermediate", blocks * each, key + " * " + widthKey);
  i.sharedBlock(stem, names.gate, names.up, names.down);
  return true;
}

// The gate of Qwen's layers: sigmoid of one row.
void gatedShared(I &i) {
  i.integer("shared.intermediate", {"shared_expert_intermediate_size"});
  i.fromFamily("shared.gate", "sigmoid");
  i.sharedBlock("mlp.shared_expert.", "gate_proj", "up_proj", "down_proj");
  i.weight("shared.gate_weight", "mlp.shared_expert_gate.weight");
}

void f32Logits(I &i) { i.fromFamily("router.logit_dtype", "f32"); }

void f32Gate(I &i) {
  f32Logits(i);
  OrderedJson type = i.spec["dtype"];
  if (!type.is_string() || type == "f32")
    return;
  i.put("dtype", OrderedJson{{"activation", type}, {"weight", type}});
  i.fromFamily("dtype.router", "f32");
}

void refuseUnless(I &i, const char *key, const Json &published, const char *why) {
  if (const Json *value = i.find({key}); value && *value != published)
    i.fail("E-IMPORT-KEY", key, std::string(key) + " is not " + published.dump() + ": " + why);
}

void keptRatios(I &i, const char *key) {
  i.quirk(key, "weights of the chosen experts are not divided by their sum", "router.normalize none");
}

// A block beside the experts has their activation.
static void finishShared(I &i) {
  if (!i.spec.contains("shared") || i.spec["shared"].contains("act") || !i.spec["experts"].contains("act"))
    return;
  OrderedJson act = i.spec["experts"]["act"];
  if (act != "silu")
    i.fromFamily("shared.act", act);
}

static void addLoss(I &i, OrderedJson loss, const std::string &key) {
  i.out.mapping.push_back({"losses." + loss["kind"].get<std::string>(), loss["coef"].dump(), key});
  i.spec["losses"].push_back(std::move(loss));
}

// By the key that holds the coefficient. Families that count per sequence say so themselves.
static void addLosses(I &i) {
  std::string key;
  bool encoderDecoder = i.out.family == "switch_transformers" || i.out.family == "nllb-moe";
  if (i.find({"router_aux_loss_coef", "aux_loss_coef", "ffn_config.moe_loss_weight"}, &key) &&
      i.numberOr({key.c_str()}, 0) > 0) {
    OrderedJson loss = {{"kind", "load_balance"}, {"coef", i.numberOr({key.c_str()}, 0)}};
    if (encoderDecoder) {
      loss["scope"] = "sequence";
      loss["dropped_as_expert0"] = true;
    }
    addLoss(i, loss, key);
    if (encoderDecoder)
      i.quirk(key, "a token that finds no place counts for expert 0", "losses.dropped_as_expert0");
    else
      i.quirk(key, "some versions of the published code take the softmax twice", "once, of the logits");
  }
  if (double alpha = i.numberOr({"aux_loss_alpha"}, 0); alpha > 0) {
    OrderedJson loss = {{"kind", "load_balance"}, {"coef", alpha}, {"per_choice", true}};
    if (i.flagOr({"seq_aux"}, false))
      loss["scope"] = "sequence";
    addLoss(i, loss, "aux_loss_alpha");
  }
  if (double z = i.numberOr({"router_z_loss_coef"}, 0); z > 0)
    addLoss(i, {{"kind", "z"}, {"coef", z}}, "router_z_loss_coef");
}

void finish(I &i) {
  finishShared(i);
  if (i.options.losses)
    addLosses(i);
  if (i.options.decoder && i.out.family != "switch_transformers" && i.out.family != "nllb-moe")
    i.fail("E-IMPORT-KEY", "model_type",
           "--decoder is for models with an encoder too, which " + i.out.family + " is not", "leave --decoder out");
  if (i.options.stacked && !i.stackedUsed)
    i.fail("E-IMPORT-KEY", "model_type",
           "--stacked is for models whose checkpoints hold one tensor for each gated expert; those of " + i.out.family +
               " do not",
           "leave --stacked out");
}

} // namespace moec::families
