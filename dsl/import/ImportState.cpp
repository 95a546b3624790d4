// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys of a config -> checked values and names of a spec; what models mean by them is ImportFamilies.cpp.

#include "dsl/import/ImportState.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace moec {

namespace {

std::string inQuotes(const std::string &text) { return "\"" + text + "\""; }

std::string listOf(Keys keys) {
  std::string text;
  for (const char *key : keys)
    text += (text.empty() ? "" : ", ") + std::string(key);
  return text;
}

} // namespace

const Json *memberOf(const Json &object, const std::string &path) {
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

namespace {

// Names of one number in the classes of different models; some save a config under another one's.
constexpr std::initializer_list<const char *> sameNumber[] = {
    {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"},
    {"num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "num_experts_per_token"}};

// `keys` and behind them the other names of the same number.
std::vector<const char *> withAliases(Keys keys) {
  std::vector<const char *> all(keys);
  auto holds = [&](const char *name) {
    return std::any_of(all.begin(), all.end(), [&](const char *key) { return std::string_view(key) == name; });
  };
  for (const auto &names : sameNumber)
    if (std::any_of(names.begin(), names.end(), holds))
      std::copy_if(names.begin(), names.end(), std::back_inserter(all), [&](const char *name) { return !holds(name); });
  return all;
}

} // namespace

const Json *ImportState::find(Keys keys, std::string *key) const {
  const Json *first = nullptr;
  for (const char *name : withAliases(keys)) {
    const Json *value = memberOf(config, name);
    read.insert(name);
    if (!value || first)
      continue;
    if (key)
      *key = name;
    bool perLayer = value->is_array() && layer() >= 0 && size_t(layer()) < value->size();
    first = perLayer ? &(*value)[size_t(layer())] : value;
  }
  return first;
}

const Json *ImportState::whole(const char *key) const {
  read.insert(key);
  return memberOf(config, key);
}

bool ImportState::writes(const char *key) const {
  std::string path = key;
  read.insert(path);
  size_t dot = path.rfind('.');
  const Json *owner = dot == std::string::npos ? &config : memberOf(config, path.substr(0, dot));
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
  std::string same;
  for (const char *other : withAliases(keys))
    if (const Json *again = find({other}, &same);
        again && same == other && *again != *value && std::string(path) != "experts.intermediate")
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

std::optional<int64_t> ImportState::numLayers() const {
  static const Keys encoderKeys = {"num_hidden_layers",    "n_layers",       "num_layers",    "n_layer",
                                   "config.text.n_layers", "encoder_layers", "decoder_layers"};
  static const Keys decoderKeys = {"num_decoder_layers", "decoder_layers", "num_hidden_layers", "num_layers"};
  const Keys &keys = options.decoder ? decoderKeys : encoderKeys;
  if (has(keys))
    return integerOr(keys, 0);
  for (const char *key : {"mlp_layer_types", "is_moe_layer", "layers_block_type", "layer_types"})
    if (const Json *list = whole(key); list && list->is_array())
      return int64_t(list->size());
  if (const Json *pattern = whole("hybrid_override_pattern"); pattern && pattern->is_string())
    return int64_t(pattern->get_ref<const std::string &>().size());
  return std::nullopt;
}

void ImportState::chooseLayer(const LayerRule &rule) {
  constexpr int64_t mostLayers = 1 << 12; // of a config that does not say how many it has
  int64_t count = numLayers().value_or(mostLayers);
  bool known = std::any_of(rule.keys.begin(), rule.keys.end(), [&](const char *key) { return writes(key); });
  auto has = [&](int64_t index) { return !rule.hasExperts || !known || rule.hasExperts(*this, index); };
  out.layer = options.layer.value_or(0);
  if (rule.hasExperts && !known)
    out.findings.push_back(Diagnostic::warning("W-IMPORT-LAYER",
                                               "the config does not say which layers have experts: it has no " +
                                                   std::string(rule.keys.front()),
                                               "layer " + std::to_string(out.layer), rule.keys.front()));
  if (options.layer) {
    if (out.layer < 0 || out.layer >= count)
      return fail("E-IMPORT-LAYER", "num_hidden_layers",
                  "layer " + std::to_string(out.layer) + ": the model has layers 0 to " + std::to_string(count - 1),
                  "");
    if (!has(out.layer))
      fail("E-IMPORT-LAYER", "", "layer " + std::to_string(out.layer) + " has no experts", rule.says);
    return;
  }
  for (; out.layer < std::min(count, mostLayers); ++out.layer)
    if (has(out.layer))
      return;
  out.layer = 0;
  fail("E-IMPORT-LAYER", "", "no layer of this config has experts", rule.says);
}

} // namespace moec
