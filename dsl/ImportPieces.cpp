// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Blocks of keys and weights.

#include "dsl/ImportPieces.h"

namespace moec::families {

void experts(I &i, Keys count, Keys width) {
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

// norm_topk_prob decides, and must be there: class defaults differ from what is published.
void sumNormIfAsked(I &i, double eps) {
  std::string key;
  const Json *value = i.find({"norm_topk_prob"}, &key);
  if (!value || !value->is_boolean())
    return i.missing({"norm_topk_prob"}, "router.normalize");
  if (!value->get<bool>())
    return;
  i.put("router.normalize.kind", "sum", key);
  if (eps != 0)
    i.fromFamily("router.normalize.eps", eps);
}

void groups(I &i, const char *score) {
  int64_t count = i.integerOr({"n_group"}, 1), keep = i.integerOr({"topk_group"}, 1);
  if (count <= 1)
    return;
  i.put("router.groups.count", count, "n_group");
  i.put("router.groups.keep", keep, "topk_group");
  i.fromFamily("router.groups.score", score);
}

void mlpExperts(I &i) { i.perExpert("mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj"); }

// One block of n times the experts' width, ungated.
void wideShared(I &i, Keys count, const std::string &stem, Keys width) {
  int64_t blocks = i.integerOr(count, 0), each = i.integerOr(width, 0);
  if (blocks <= 0 || each <= 0)
    return;
  i.put("shared.intermediate", blocks * each, std::string(*count.begin()) + " * " + *width.begin());
  i.sharedBlock(stem, "gate_proj", "up_proj", "down_proj");
}

// The gate of Qwen's layers: sigmoid of one row.
void gatedShared(I &i) {
  i.integer("shared.intermediate", {"shared_expert_intermediate_size"});
  i.fromFamily("shared.gate", "sigmoid");
  i.sharedBlock("mlp.shared_expert.", "gate_proj", "up_proj", "down_proj");
  i.weight("shared.gate_weight", "mlp.shared_expert_gate.weight");
}

void f32Logits(I &i) { i.fromFamily("router.logit_dtype", "f32"); }

} // namespace moec::families
