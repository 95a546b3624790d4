// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys that look like experts, routing or an activation and that no rule read: the layer may not be what its spec says.

#include "dsl/import/ImportState.h"

namespace moec {

namespace {

bool contains(const std::string &key, const char *part) { return key.find(part) != std::string::npos; }

bool looksLikeExperts(const std::string &key) {
  for (const char *part : {"moe", "expert", "router", "routed", "routing", "swiglu", "topk", "scor", "act_fn",
                           "dense_replace", "dense_step", "hash_layers"})
    if (contains(key, part))
      return true;
  for (const char *name : {"hidden_act", "mlp_hidden_act", "hidden_activation", "activation_function"})
    if (key == name)
      return true;
  return key.rfind("activation_", 0) == 0;
}

// Training, generation, attention and the work of several devices: none changes what a layer computes.
bool concernsOthers(const std::string &key) {
  for (const char *name :
       {"aux_loss_alpha", "aux_loss_coef", "router_aux_loss_coef", "router_z_loss_coef", "z_loss_coef", "seq_aux",
        "output_router_logits", "output_scores", "moe_shared_expert_overlap", "moe_router_bias_update_factor",
        "moe_router_bias_update_rate", "expert_model_parallel_size", "expert_parallel_size", "activation_dropout",
        "router_ignore_padding_tokens", "moe_dropout_prob", "moe_layer_num", "moe_loss_weight", "add_router_probs"})
    if (key == name)
      return true;
  return key.rfind("index_", 0) == 0 || contains(key, "load_balanc");
}

} // namespace

std::vector<std::string> ImportState::unreadKeys() const {
  std::vector<std::string> unread;
  auto lookedInto = [&](const std::string &key) {
    auto member = read.lower_bound(key + ".");
    return member != read.end() && member->rfind(key + ".", 0) == 0;
  };
  auto collect = [&](const Json &object, const std::string &before) {
    for (const auto &[key, value] : object.items())
      if (!value.is_null() && !read.count(before + key) && !lookedInto(before + key) && looksLikeExperts(key) &&
          !concernsOthers(key))
        unread.push_back(before + key);
  };
  collect(config, "");
  for (const auto &[key, value] : config.items())
    if (value.is_object() && lookedInto(key))
      collect(value, key + ".");
  return unread;
}

} // namespace moec
