// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model's config.json -> the spec of one of its MoE layers, with where every value came from.
//
// What a model does and a config does not say (its score function, its epsilon) comes from its family; what a config says
// is never assumed: a key that is missing is an error.

#ifndef MOEC_DSL_IMPORTCONFIG_H
#define MOEC_DSL_IMPORTCONFIG_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct ImportedValue {
  std::string key, value, source; // "router.top_k", "8", "num_experts_per_tok" or "family mixtral"
};

struct ImportFinding {
  bool error = true;
  std::string code, key, message, hint; // E-IMPORT-KEY, E-IMPORT-MODEL, E-IMPORT-LAYER, W-QUIRK; key: of the config
};

struct ImportResult {
  std::string spec;                   // JSON text; empty after an error
  std::string family, prefix;         // prefix: what stands before the tensor names of this layer in a checkpoint
  int64_t layer = 0;
  bool quantised = false;             // the checkpoint holds quantised experts, which the spec does not describe
  std::vector<ImportedValue> mapping; // in the order of the spec
  std::vector<ImportFinding> findings;
};

// `layer`: the decoder layer; nullopt: the first that has experts. `name` becomes the layer's name. False: findings hold
// an error. Input is untrusted: no value of it reaches the spec unchecked.
bool importConfig(std::string_view text, std::optional<int64_t> layer, const std::string &name, ImportResult &out);

// Values of model_type that importConfig knows, sorted.
std::vector<std::string> importableModels();

} // namespace moec

#endif
