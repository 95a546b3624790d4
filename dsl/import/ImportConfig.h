// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model's config.json -> the spec of one of its MoE layers, with where every value came from.
//
// What a model does and a config does not say (its score function, its epsilon) comes from its family; what a config
// says is never assumed: a key that is missing is an error.

#ifndef MOEC_DSL_IMPORT_IMPORTCONFIG_H
#define MOEC_DSL_IMPORT_IMPORTCONFIG_H

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
  std::string code, key, message, hint; // E-IMPORT-*, E-UNSUPPORTED, W-QUIRK, W-IMPORT-LAYER; key: of the config
};

struct ImportOptions {
  std::optional<int64_t> layer;  // decoder layer; none: the first that has experts
  std::string name = "imported"; // of the layer
  bool decoder = false;          // of an encoder-decoder model: a layer of the decoder, not of the encoder
  bool floatWeights = false; // the weights of a quantised checkpoint were converted: its quantization_config is ignored
  bool stacked = false; // the experts of a per-expert checkpoint were stacked: gate_up_proj [E,2I,H], down_proj [E,H,I]
  bool losses = false;  // training losses of the config too
  bool maskedNegInf = false; // groups that are not kept score -inf instead of 0
};

struct ImportResult {
  std::string spec;           // JSON text; empty after an error
  std::string family, prefix; // prefix: what stands before the tensor names of this layer in a checkpoint
  int64_t layer = 0;
  bool quantised = false;             // the config says that the checkpoint is quantised
  std::vector<ImportedValue> mapping; // in the order of the spec
  std::vector<ImportFinding> findings;
};

// False: findings hold an error. Input is untrusted: no value of it reaches the spec unchecked.
bool importConfig(std::string_view text, const ImportOptions &options, ImportResult &out);

// Values of model_type that importConfig knows, sorted.
std::vector<std::string> importableModels();

} // namespace moec

#endif
