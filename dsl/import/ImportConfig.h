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
  std::optional<bool> maskedNegInf; // groups that are not kept score -inf or 0; unset: as in the published code
  bool strict = false;              // keys that no rule reads are errors
  std::string dtype;                // "f32", "bf16" or "f16" in place of the config's type; empty: the config's
  std::string inner; // key of the config of the model inside, "talker_config.text_config"; empty: the text model's
  std::string fileName = "config.json"; // of the text, in errors with a place
  std::string quantText;                // of hf_quant_config.json beside the config; empty: there is none
};

struct ImportResult {
  std::string spec;           // JSON text; empty after an error
  std::string family, prefix; // prefix: common start of this layer's tensor names in a checkpoint
  int64_t layer = 0;
  bool quantised = false;             // the config says that the checkpoint is quantised
  std::vector<ImportedValue> mapping; // in the order of the spec
  // Errors E-JSON (with its place), E-IMPORT-* and E-UNSUPPORTED, warnings W-QUIRK and W-IMPORT-*. The path is a key of
  // the config; a warning's hint is what was chosen.
  std::vector<Diagnostic> findings;
};

// False: findings hold an error. Input is untrusted: every value is checked before it reaches the spec.
bool importConfig(std::string_view text, const ImportOptions &options, ImportResult &out);

// Layers of one model that have the same spec, or none.
struct LayerGroup {
  std::vector<int64_t> layers; // ascending
  ImportResult import;         // of the first of them; its spec is empty if they have no experts or were refused
  bool hasExperts = false;
};

// Every layer of the model, in the order of the groups' first layers; options.layer is not used. False: `findings`
// holds an error that concerns the whole config.
bool importLayers(std::string_view text, const ImportOptions &options, std::vector<LayerGroup> &groups,
                  std::vector<Diagnostic> &findings);

// Values of model_type that importConfig knows, sorted.
std::vector<std::string> importableModels();

} // namespace moec

#endif
