// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every sign that the weights of a checkpoint are not floating point, in its config and in the file beside it.

#include "dsl/import/ConfigText.h"

namespace moec {

namespace {

struct Sign {
  std::string key, form; // "quantization_config", "fp8"
};

std::string wordAt(const Json &object, const char *key) {
  const Json *value = memberOf(object, key);
  return value && value->is_string() ? value->get<std::string>().substr(0, maxWord) : "";
}

// "modelopt NVFP4", "compressed-tensors pack-quantized"
std::string methodOf(const Json &config) {
  std::string text = wordAt(config, "quant_method");
  for (const char *key : {"format", "moe_quant_algo", "quant_algo"})
    if (std::string word = wordAt(config, key); !word.empty()) {
      text += (text.empty() ? "" : " ") + word;
      break;
    }
  return text.empty() ? "unnamed" : text;
}

// MLX writes a number of bits and names no method.
std::string bitsOf(const Json &config) {
  const Json *bits = memberOf(config, "bits");
  return bits && bits->is_number_integer() ? bits->dump() + " bits" : methodOf(config);
}

void signsIn(const Json &config, std::vector<Sign> &signs) {
  if (const Json *quant = memberOf(config, "quantization_config"))
    signs.push_back({"quantization_config", methodOf(*quant)});
  if (const Json *quant = memberOf(config, "compression_config"))
    signs.push_back({"compression_config", methodOf(*quant)});
  if (const Json *quant = memberOf(config, "quantization"))
    signs.push_back({"quantization", bitsOf(*quant)});
}

// {"quantization": {"quant_algo": "NVFP4"}}; a quant_algo that is null says that nothing is quantised.
void signsBeside(const ImportState &import, std::vector<Sign> &signs) {
  const char *file = "hf_quant_config.json";
  if (import.options.quantText.empty())
    return;
  std::optional<Json> beside = readConfigText(import.options.quantText, file, import.out.findings);
  if (!beside)
    return;
  const Json *quant = memberOf(*beside, "quantization");
  if (quant && quant->is_object() && quant->contains("quant_algo") && (*quant)["quant_algo"].is_null())
    return;
  signs.push_back({file, methodOf(quant ? *quant : *beside)});
}

} // namespace

void noteQuantisation(ImportState &import, const Json &root) {
  std::vector<Sign> signs;
  signsIn(import.config, signs);
  if (&import.config != &root)
    signsIn(root, signs);
  signsBeside(import, signs);
  std::string experts = import.wordOr({"expert_dtype"}, "");
  bool floating = experts.empty() || experts == "bf16" || experts == "bfloat16" || experts == "fp16" ||
                  experts == "float16" || experts == "fp32" || experts == "float32";
  if (!floating && signs.empty())
    signs.push_back({"expert_dtype", experts});
  if (signs.empty())
    return;
  import.out.quantised = true;
  const auto &[key, form] = signs.front();
  std::string shown = form + (floating || key == "expert_dtype" ? "" : ", experts " + experts);
  if (import.options.floatWeights)
    import.quirk(key,
                 "the checkpoint is quantised (" + shown + "), and this spec describes the layer in floating point",
                 "the weights are converted before they are loaded");
  else
    import.unsupported(key, "quantised experts are not built, and this checkpoint is quantised (" + shown + ")",
                       "f32, bf16 and f16 weights are supported: convert the checkpoint and pass --float");
}

} // namespace moec
