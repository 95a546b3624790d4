// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model's config.json -> the spec of one of its MoE layers, with the source of every value.
//
// Facts that configs never state (a score function, an epsilon) come from the model's family. Facts that configs do
// state are never assumed: a missing key is an error.

#ifndef MOEC_DSL_IMPORT_IMPORTCONFIG_H
#define MOEC_DSL_IMPORT_IMPORTCONFIG_H

#include "dsl/text/Diagnostic.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct ImportedValue {
  std::string key, value, source; // "router.top_k", "8", "num_experts_per_tok" or "family mixtral"
};

struct ImportOptions {
  std::optional<int64_t> layer;  // decoder layer; unset: the first that has experts
  std::string name = "imported"; // of the layer
  bool decoder = false;          // encoder-decoder models: a layer of the decoder instead of the encoder
  bool floatWeights = false; // the weights of a quantised checkpoint were converted: its quantization_config is ignored
  bool stacked = false; // the experts of a per-expert checkpoint were stacked: gate_up_proj [E,2I,H], down_proj [E,H,I]
  bool losses = false;  // also import the config's training losses
  bool maskedNegInf = false; // groups that are not kept score -inf instead of 0
};

struct ImportResult {
  std::string spec;           // JSON text; empty after an error
  std::string family, prefix; // prefix: common start of this layer's tensor names in a checkpoint
  int64_t layer = 0;
  bool quantised = false;             // the config says that the checkpoint is quantised
  std::vector<ImportedValue> mapping; // in the order of the spec
  // Errors E-IMPORT-* and E-UNSUPPORTED, warnings W-QUIRK and W-IMPORT-LAYER. The path is a key of the config; a
  // warning's hint is what was chosen.
  std::vector<Diagnostic> findings;
};

// False: findings hold an error. Input is untrusted: every value is checked before it reaches the spec.
bool importConfig(std::string_view text, const ImportOptions &options, ImportResult &out);

// Values of model_type that importConfig knows, sorted.
std::vector<std::string> importableModels();

} // namespace moec

#endif
