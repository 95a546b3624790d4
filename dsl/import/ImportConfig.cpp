// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Finding keys, checking their types, and the order of an import; what models mean by them is ImportFamilies.cpp.

#include "dsl/import/ImportPieces.h"

#include "dsl/text/Spelling.h"

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

const Json *ImportState::find(Keys keys, std::string *key) const {
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

bool ImportState::writes(const char *key) const {
  std::string path = key;
  size_t dot = path.rfind('.');
  const Json *owner = dot == std::string::npos ? &config : member(config, path.substr(0, dot));
  return owner && owner->is_object() && owner->contains(path.substr(dot + 1));
}

int64_t ImportState::integerOr(Keys keys, int64_t other) const {
  std::string key;
  const Json *value = find(keys, &key);
  if (value && value->is_number_integer())
    return value->get<int64_t>();
  if (value)
    fail("E-IMPORT-KEY", key, key + " must be a whole number");
  return other;
}

double ImportState::numberOr(Keys keys, double other) const {
  std::string key;
  const Json *value = find(keys, &key);
  if (value && value->is_number() && std::isfinite(value->get<double>()))
    return value->get<double>();
  if (value)
    fail("E-IMPORT-KEY", key, key + " must be a number");
  return other;
}

bool ImportState::flagOr(Keys keys, bool other) const {
  std::string key;
  const Json *value = find(keys, &key);
  if (value && value->is_boolean())
    return value->get<bool>();
  if (value)
    fail("E-IMPORT-KEY", key, key + " must be true or false");
  return other;
}

std::string ImportState::wordOr(Keys keys, const std::string &other) const {
  std::string key;
  const Json *value = find(keys, &key);
  if (value && value->is_string())
    return value->get<std::string>().substr(0, maxWord);
  if (value)
    fail("E-IMPORT-KEY", key, key + " must be a text");
  return other;
}

// Once for each key: several steps may look at it.
void ImportState::fail(const char *code, const std::string &key, const std::string &message,
                       const std::string &hint) const {
  for (const Diagnostic &finding : out.findings)
    if (finding.severity == Severity::Error && finding.path == key && finding.message == message)
      return;
  out.findings.push_back(Diagnostic::error(code, message, hint, key));
}

void ImportState::quirk(const std::string &key, const std::string &message, const std::string &chosen) {
  out.findings.push_back(Diagnostic::warning("W-QUIRK", message, chosen, key));
}

void ImportState::unsupported(const std::string &key, const std::string &message, const std::string &hint) {
  out.findings.push_back(Diagnostic::error("E-UNSUPPORTED", message, hint, key));
}

bool ImportState::failed() const {
  return std::any_of(out.findings.begin(), out.findings.end(),
                     [](const Diagnostic &finding) { return finding.severity == Severity::Error; });
}

void ImportState::missing(Keys keys, const char *path) {
  fail("E-IMPORT-KEY", *keys.begin(),
       "the config has no " + listOf(keys) + ", which " + std::string(path) + " of a " + out.family + " layer needs",
       "use the config.json of the checkpoint itself: class defaults differ from what is published");
}

// `source` empty: the caller found no key, so nothing is recorded.
void ImportState::put(const std::string &path, OrderedJson value, const std::string &source) {
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

int64_t ImportState::integer(const char *path, Keys keys, int64_t low) {
  std::string key;
  const Json *value = find(keys, &key);
  if (!value) {
    missing(keys, path);
    return low;
  }
  constexpr int64_t most = int64_t(1) << 30;
  if (!value->is_number_integer() || value->get<int64_t>() < low || value->get<int64_t>() > most) {
    fail("E-IMPORT-KEY", key, key + " must be a whole number of at least " + std::to_string(low), "");
    return low;
  }
  int64_t number = value->get<int64_t>();
  // Two names of one number must agree; a width of experts and one of dense layers need not.
  for (const char *other : keys)
    if (const Json *again = find({other}); again && *again != *value && std::string(path) != "experts.intermediate")
      fail("E-IMPORT-KEY", other,
           key + " (" + std::to_string(number) + ") and " + other + " (" + again->dump().substr(0, maxWord) +
               ") contradict each other",
           "both are " + std::string(path));
  put(path, number, key);
  return number;
}

void ImportState::number(const char *path, Keys keys, double fallback) {
  if (!find(keys))
    return missing(keys, path);
  optionalNumber(path, keys, fallback);
}

bool ImportState::flag(const char *path, Keys keys) {
  std::string key;
  const Json *value = find(keys, &key);
  if (!value)
    missing(keys, path);
  else if (!value->is_boolean())
    fail("E-IMPORT-KEY", key, key + " must be true or false", "");
  return value && value->is_boolean() && value->get<bool>();
}

void ImportState::optionalNumber(const char *path, Keys keys, double fallback) {
  std::string key;
  const Json *value = find(keys, &key);
  if (!value)
    return;
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    return fail("E-IMPORT-KEY", key, key + " must be a number", "");
  if (value->get<double>() != fallback)
    put(path, value->get<double>(), key);
}

void ImportState::activation(const char *path, Keys keys, const std::string &fallback) {
  static const std::pair<const char *, const char *> names[] = {{"silu", "silu"},
                                                                {"swish", "silu"},
                                                                {"gelu", "gelu"},
                                                                {"gelu_new", "gelu_tanh"},
                                                                {"gelu_pytorch_tanh", "gelu_tanh"},
                                                                {"gelu_tanh", "gelu_tanh"},
                                                                {"gelu_fast", "gelu_tanh"},
                                                                {"quick_gelu", "quick_gelu"},
                                                                {"relu", "relu"},
                                                                {"relu2", "relu2"}};
  std::string key, word;
  const Json *value = find(keys, &key);
  if (!value && fallback.empty())
    return missing(keys, path);
  word = value ? (value->is_string() ? value->get<std::string>() : "") : fallback;
  for (auto [theirs, ours] : names)
    if (word == theirs)
      return put(path, ours, value ? key : "family " + out.family);
  fail("E-IMPORT-KEY", key, key + " is not a built-in activation: " + inQuotes(word.substr(0, maxWord)),
       "use silu, gelu, gelu_tanh, quick_gelu, relu or relu2");
}

void ImportState::weight(const char *role, const std::string &tensor, const char *stack, const char *axes,
                         const char *part) {
  OrderedJson entry = {{"tensor", tensor}};
  for (auto [key, value] : {std::pair("stack", stack), std::pair("axes", axes), std::pair("part", part)})
    if (*value)
      entry[key] = value;
  spec["weights"][role] = entry;
}

// "block_sparse_moe.experts.{e}." -> "mlp.experts.": code that stacks experts calls every block of them mlp.
static std::string stackedStem(std::string stem) {
  if (size_t at = stem.find("block_sparse_moe."); at == 0)
    stem.replace(0, 17, "mlp.");
  if (size_t at = stem.find("{e}."); at != std::string::npos)
    stem.erase(at);
  return stem;
}

void ImportState::perExpert(const std::string &stem, const char *gate, const char *up, const char *down,
                            const char *tail) {
  if (options.stacked && gate) {
    std::string at = stackedStem(stem);
    stackedUsed = true;
    weight("experts.gate", at + "gate_up_proj", "", "", "first_half");
    weight("experts.up", at + "gate_up_proj", "", "", "second_half");
    weight("experts.down", at + "down_proj");
    for (const char *role : {"router.weight", "router.choice_bias"})
      if (spec["weights"].contains(role))
        spec["weights"][role]["tensor"] = stackedStem(spec["weights"][role]["tensor"].get<std::string>());
    return;
  }
  if (gate)
    weight("experts.gate", stem + gate + tail, "per_expert");
  weight("experts.up", stem + up + tail, "per_expert");
  weight("experts.down", stem + down + tail, "per_expert");
}

void ImportState::sharedBlock(const std::string &stem, const char *gate, const char *up, const char *down) {
  if (gate)
    weight("shared.gate", stem + gate + ".weight");
  weight("shared.up", stem + up + ".weight");
  weight("shared.down", stem + down + ".weight");
}

void ImportState::chooseLayer(const LayerRule &rule) {
  constexpr int64_t mostLayers = 1 << 12; // of a config that does not say how many it has
  static const Keys encoderKeys = {"num_hidden_layers", "n_layers", "num_layers", "encoder_layers", "decoder_layers"};
  static const Keys decoderKeys = {"num_decoder_layers", "decoder_layers", "num_hidden_layers", "num_layers"};
  int64_t numLayers = integerOr(options.decoder ? decoderKeys : encoderKeys, mostLayers);
  bool known = std::any_of(rule.keys.begin(), rule.keys.end(), [&](const char *key) { return writes(key); });
  auto has = [&](int64_t index) { return !rule.hasExperts || !known || rule.hasExperts(*this, index); };
  out.layer = options.layer.value_or(0);
  if (rule.hasExperts && !known)
    out.findings.push_back(Diagnostic::warning("W-IMPORT-LAYER",
                                               "the config does not say which layers have experts: it has no " +
                                                   std::string(rule.keys.front()),
                                               "layer " + std::to_string(out.layer), rule.keys.front()));
  if (options.layer) {
    if (out.layer < 0 || out.layer >= numLayers)
      return fail("E-IMPORT-LAYER", "num_hidden_layers",
                  "layer " + std::to_string(out.layer) + " is none of the model's " + std::to_string(numLayers), "");
    if (!has(out.layer))
      fail("E-IMPORT-LAYER", "", "layer " + std::to_string(out.layer) + " has no experts", rule.says);
    return;
  }
  for (; out.layer < std::min(numLayers, mostLayers); ++out.layer)
    if (has(out.layer))
      return;
  out.layer = 0;
  fail("E-IMPORT-LAYER", "", "no layer of this config has experts", rule.says);
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

void fillTypes(ImportState &import, const Json &root) {
  std::string key, word;
  for (const Json *from : {&import.config, &root})
    for (const char *name : {"torch_dtype", "dtype"})
      if (const Json *value = member(*from, name); value && word.empty()) {
        key = name;
        if (!value->is_string())
          return import.fail("E-IMPORT-KEY", key, key + " must be a text");
        word = value->get<std::string>();
      }
  const char *type = word == "bfloat16" ? "bf16" : word == "float16" ? "f16" : word == "float32" ? "f32" : nullptr;
  if (type)
    import.put("dtype", type, key);
  else
    import.put("dtype", "bf16", "default: the config names no floating-point type");
}

// A quantised checkpoint is refused, because no package reads its weights; its layer in floating point can be had.
void noteQuantisation(ImportState &import, const Json &root) {
  for (const Json *from : {&import.config, &root})
    if (const Json *quant = member(*from, "quantization_config"); quant && !import.out.quantised) {
      import.out.quantised = true;
      const Json *method = member(*quant, "quant_method");
      std::string word = method && method->is_string() ? method->get<std::string>().substr(0, maxWord) : "unnamed";
      if (import.options.floatWeights)
        import.quirk("quantization_config",
                     "the checkpoint is quantised (" + word + "), and this spec describes the layer in floating point",
                     "the weights are converted before they are loaded");
      else
        import.unsupported("quantization_config",
                           "quantised experts are not built, and this checkpoint is quantised (" + word + ")",
                           "f32, bf16 and f16 weights are supported: convert the checkpoint and pass --float");
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

static bool refuse(ImportResult &out, const char *code, const char *key, std::string message, std::string hint = "") {
  out.findings.push_back(Diagnostic::error(code, std::move(message), std::move(hint), key));
  return false;
}

// The row of the config's model_type; null: the reason is in `out`.
static const ImportFamily *chooseFamily(const Json &config, const Json &root, ImportResult &out) {
  const Json *type = member(config, "model_type");
  if (!type || !type->is_string() || !familyOf(type->get<std::string>()))
    if (const Json *outer = member(root, "model_type"); outer && outer->is_string())
      type = outer;
  if (!type || !type->is_string()) {
    refuse(out, "E-IMPORT-KEY", "model_type", "the config has no model_type", "it names the family whose rules apply");
    return nullptr;
  }
  out.family = type->get<std::string>();
  const ImportFamily *family = familyOf(out.family);
  if (family)
    return family;
  std::string shown = out.family.substr(0, maxWord);
  std::optional<std::string> closest = closestSpelling(shown, importableModels());
  refuse(out, "E-IMPORT-MODEL", "model_type", "model_type " + inQuotes(shown) + " is not known",
         closest ? "did you mean \"" + *closest + "\"? else write the spec by hand: dsl/README.md"
                 : "write the spec by hand: dsl/README.md; moec import hf --list names the known ones");
  return nullptr;
}

bool importConfig(std::string_view text, const ImportOptions &options, ImportResult &out) {
  out = {};
  if (text.size() > maxConfigBytes)
    return refuse(out, "E-IMPORT-KEY", "",
                  "the config has " + std::to_string(text.size()) + " bytes, at most " +
                      std::to_string(maxConfigBytes) + " are read");
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return refuse(out, "E-IMPORT-KEY", "", "the config is not a JSON object");
  const Json &config = textConfig(root);
  const ImportFamily *family = chooseFamily(config, root, out);
  if (!family)
    return false;
  ImportState import(config, options, out);
  import.spec["moec"] = 1;
  import.spec["name"] = options.name;
  import.chooseLayer(family->rule);
  if (import.failed())
    return false;
  out.prefix = withLayer(&config != &root && family->nested ? family->nested : family->prefix, out.layer);
  import.integer("hidden", {"hidden_size", "d_model", "emb_size"});
  fillTypes(import, root);
  family->fill(import);
  families::finish(import);
  noteQuantisation(import, root);
  if (import.failed())
    return false;
  out.spec = import.spec.dump(2) + "\n";
  return true;
}

} // namespace moec
