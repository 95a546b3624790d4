// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Finding keys, checking their types, and the order of an import; what models mean by them is ImportFamilies.cpp.

#include "dsl/ConfigImport.h"

#include "dsl/Spelling.h"

#include <algorithm>
#include <cmath>

namespace moec {

namespace {

constexpr size_t maxConfigBytes = 4 << 20;
constexpr size_t maxWord = 64;

std::string inQuotes(const std::string &text) { return "\"" + text + "\""; }

std::string listOf(Keys keys) {
  std::string text;
  for (const char *key : keys)
    text += (text.empty() ? "" : ", ") + std::string(key);
  return text;
}

const Json *member(const Json &object, const std::string &path) {
  const Json *at = &object;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('.', begin), path.size());
    if (!at->is_object())
      return nullptr;
    auto found = at->find(path.substr(begin, end - begin));
    if (found == at->end() || found->is_null())
      return nullptr;
    at = &*found;
    begin = end + 1;
  }
  return at;
}

} // namespace

const Json *ConfigImport::find(Keys keys, std::string *key) const {
  for (const char *name : keys) {
    const Json *value = member(config, name);
    if (!value)
      continue;
    if (key)
      *key = name;
    if (value->is_array() && layer() >= 0 && size_t(layer()) < value->size())
      return &(*value)[size_t(layer())];
    return value;
  }
  return nullptr;
}

int64_t ConfigImport::integerOr(Keys keys, int64_t other) const {
  const Json *value = find(keys);
  return value && value->is_number_integer() ? value->get<int64_t>() : other;
}

double ConfigImport::numberOr(Keys keys, double other) const {
  const Json *value = find(keys);
  return value && value->is_number() && std::isfinite(value->get<double>()) ? value->get<double>() : other;
}

bool ConfigImport::flagOr(Keys keys, bool other) const {
  const Json *value = find(keys);
  return value && value->is_boolean() ? value->get<bool>() : other;
}

std::string ConfigImport::wordOr(Keys keys, const std::string &other) const {
  const Json *value = find(keys);
  return value && value->is_string() ? value->get<std::string>().substr(0, maxWord) : other;
}

void ConfigImport::fail(const char *code, const std::string &key, const std::string &message, const std::string &hint) {
  out.findings.push_back({true, code, key, message, hint});
}

void ConfigImport::quirk(const std::string &key, const std::string &message, const std::string &chosen) {
  out.findings.push_back({false, "W-QUIRK", key, message, chosen});
}

bool ConfigImport::failed() const {
  return std::any_of(out.findings.begin(), out.findings.end(), [](const ImportFinding &f) { return f.error; });
}

void ConfigImport::missing(Keys keys, const char *path) {
  fail("E-IMPORT-KEY", *keys.begin(), "the config has no " + listOf(keys) + ", which " + std::string(path) + " of a " + out.family + " layer needs",
       "use the config.json of the checkpoint itself: class defaults differ from what is published");
}

// `source` empty: the caller found no key, so nothing is recorded.
void ConfigImport::put(const std::string &path, OrderedJson value, const std::string &source) {
  OrderedJson *at = &spec;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('.', begin), path.size());
    at = &(*at)[path.substr(begin, end - begin)];
    begin = end + 1;
  }
  if (!source.empty())
    out.mapping.push_back({path, value.dump(), source});
  *at = std::move(value);
}

int64_t ConfigImport::integer(const char *path, Keys keys, int64_t low) {
  std::string key;
  const Json *value = find(keys, &key);
  if (!value) {
    missing(keys, path);
    return low;
  }
  constexpr int64_t most = int64_t(1) << 30;
  if (!value->is_number_integer() || value->get<int64_t>() < low || value->get<int64_t>() > most) {
    fail("E-IMPORT-KEY", key, key + " is no whole number of at least " + std::to_string(low), "");
    return low;
  }
  int64_t number = value->get<int64_t>();
  put(path, number, key);
  return number;
}

void ConfigImport::optionalNumber(const char *path, Keys keys, double fallback) {
  std::string key;
  const Json *value = find(keys, &key);
  if (!value)
    return;
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    return fail("E-IMPORT-KEY", key, key + " is no number", "");
  if (value->get<double>() != fallback)
    put(path, value->get<double>(), key);
}

void ConfigImport::activation(const char *path, Keys keys, const std::string &fallback) {
  static const std::pair<const char *, const char *> names[] = {
      {"silu", "silu"},   {"swish", "silu"},    {"gelu", "gelu"},   {"gelu_new", "gelu_tanh"}, {"gelu_pytorch_tanh", "gelu_tanh"},
      {"gelu_tanh", "gelu_tanh"}, {"gelu_fast", "gelu_tanh"}, {"quick_gelu", "quick_gelu"}, {"relu", "relu"}, {"relu2", "relu2"}};
  std::string key, word;
  const Json *value = find(keys, &key);
  if (!value && fallback.empty())
    return missing(keys, path);
  word = value ? (value->is_string() ? value->get<std::string>() : "") : fallback;
  for (auto [theirs, ours] : names)
    if (word == theirs)
      return put(path, ours, value ? key : "family " + out.family);
  fail("E-IMPORT-KEY", key, key + " is no activation that is built in: " + inQuotes(word.substr(0, maxWord)),
       "silu, gelu, gelu_tanh, quick_gelu, relu and relu2 are");
}

void ConfigImport::weight(const char *role, const std::string &tensor, const char *stack, const char *axes, const char *part) {
  OrderedJson entry = {{"tensor", tensor}};
  for (auto [key, value] : {std::pair("stack", stack), std::pair("axes", axes), std::pair("part", part)})
    if (*value)
      entry[key] = value;
  spec["weights"][role] = entry;
}

void ConfigImport::perExpert(const std::string &stem, const char *gate, const char *up, const char *down, const char *tail) {
  if (gate)
    weight("experts.gate", stem + gate + tail, "per_expert");
  weight("experts.up", stem + up + tail, "per_expert");
  weight("experts.down", stem + down + tail, "per_expert");
}

void ConfigImport::sharedBlock(const std::string &stem, const char *gate, const char *up, const char *down) {
  if (gate)
    weight("shared.gate", stem + gate + ".weight");
  weight("shared.up", stem + up + ".weight");
  weight("shared.down", stem + down + ".weight");
}

void ConfigImport::chooseLayer(std::optional<int64_t> asked, int64_t numLayers,
                               bool (*hasExperts)(const ConfigImport &, int64_t), const std::string &what) {
  auto has = [&](int64_t index) { return !hasExperts || hasExperts(*this, index); };
  if (asked) {
    out.layer = *asked;
    if (*asked < 0 || *asked >= numLayers)
      return fail("E-IMPORT-LAYER", "num_hidden_layers", "layer " + std::to_string(*asked) + " is none of the model's " +
                      std::to_string(numLayers), "");
    if (!has(*asked))
      fail("E-IMPORT-LAYER", "", "layer " + std::to_string(*asked) + " has no experts", what);
    return;
  }
  for (out.layer = 0; out.layer < numLayers; ++out.layer)
    if (has(out.layer))
      return;
  out.layer = 0;
  fail("E-IMPORT-LAYER", "", "no layer of this config has experts", what);
}

namespace {

const ImportFamily *familyOf(const std::string &model) {
  for (const ImportFamily &family : importFamilies())
    for (const char *name : family.models)
      if (model == name)
        return &family;
  return nullptr;
}

// A config that describes several models inside of it keeps the text one in text_config.
const Json &textConfig(const Json &root) {
  const Json *text = member(root, "text_config");
  return text && text->is_object() ? *text : root;
}

void fillTypes(ConfigImport &import, const Json &root) {
  std::string key = "torch_dtype", word = import.wordOr({"torch_dtype", "dtype"}, "");
  if (word.empty() && root.is_object())
    for (const char *name : {"torch_dtype", "dtype"})
      if (const Json *value = member(root, name); value && value->is_string())
        word = value->get<std::string>();
  const char *type = word == "bfloat16" ? "bf16" : word == "float16" ? "f16" : word == "float32" ? "f32" : nullptr;
  if (type)
    import.put("dtype", type, key);
  else
    import.put("dtype", "bf16", "default: the config names no floating-point type");
}

void noteQuantisation(ConfigImport &import, const Json &root) {
  for (const Json *from : {&import.config, &root})
    if (const Json *quant = member(*from, "quantization_config"); quant && !import.out.quantised) {
      import.out.quantised = true;
      const Json *method = member(*quant, "quant_method");
      std::string word = method && method->is_string() ? method->get<std::string>().substr(0, maxWord) : "unnamed";
      import.quirk("quantization_config", "the checkpoint's experts are quantised (" + word + "), and this spec describes the layer in floating point",
                   "convert the weights before they are loaded");
    }
}

std::string withLayer(const char *prefix, int64_t layer) {
  std::string text = prefix;
  if (size_t at = text.find("{l}"); at != std::string::npos)
    text.replace(at, 3, std::to_string(layer));
  return text;
}

} // namespace

std::vector<std::string> importableModels() {
  std::vector<std::string> names;
  for (const ImportFamily &family : importFamilies())
    names.insert(names.end(), family.models.begin(), family.models.end());
  std::sort(names.begin(), names.end());
  return names;
}

bool importConfig(std::string_view text, std::optional<int64_t> layer, const std::string &name, ImportResult &out) {
  out = {};
  auto refuse = [&](const char *code, const char *key, std::string message, std::string hint = "") {
    out.findings.push_back({true, code, key, std::move(message), std::move(hint)});
    return false;
  };
  if (text.size() > maxConfigBytes)
    return refuse("E-IMPORT-KEY", "", "the config has " + std::to_string(text.size()) + " bytes, at most " + std::to_string(maxConfigBytes) + " are read");
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return refuse("E-IMPORT-KEY", "", "the config is no JSON object");
  const Json &config = textConfig(root);
  const Json *type = member(config, "model_type");
  if (!type || !type->is_string() || !familyOf(type->get<std::string>()))
    if (const Json *outer = member(root, "model_type"); outer && outer->is_string())
      type = outer;
  if (!type || !type->is_string())
    return refuse("E-IMPORT-KEY", "model_type", "the config has no model_type", "it names the family whose rules apply");
  std::string model = type->get<std::string>();
  const ImportFamily *family = familyOf(model);
  if (!family) {
    std::string shown = model.substr(0, maxWord);
    std::optional<std::string> closest = closestSpelling(shown, importableModels());
    return refuse("E-IMPORT-MODEL", "model_type", "model_type " + inQuotes(shown) + " is not known",
                  closest ? "did you mean \"" + *closest + "\"? else write the spec by hand: dsl/README.md"
                          : "write the spec by hand: dsl/README.md; moec import hf --list names the known ones");
  }
  out.family = model;
  ConfigImport import(config, out);
  import.spec["moec"] = 1;
  import.spec["name"] = name;
  int64_t numLayers = import.integerOr({"num_hidden_layers", "n_layers", "num_layers", "decoder_layers"}, layer ? *layer + 1 : 1);
  import.chooseLayer(layer, numLayers, family->hasExperts, family->layers);
  if (import.failed())
    return false;
  out.prefix = withLayer(family->prefix, out.layer);
  import.integer("hidden", {"hidden_size", "d_model", "emb_size"});
  fillTypes(import, root);
  family->fill(import);
  noteQuantisation(import, root);
  if (import.failed())
    return false;
  out.spec = import.spec.dump(2) + "\n";
  return true;
}

} // namespace moec
