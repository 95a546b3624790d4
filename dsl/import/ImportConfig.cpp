// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The order of an import: the text, the family, the layer, the spec, what is left to say.

#include "dsl/import/ConfigText.h"
#include "dsl/import/ImportPieces.h"

#include "dsl/text/Spelling.h"

#include <algorithm>
#include <map>

namespace moec {

namespace {

const ImportFamily *familyOf(const std::string &model) {
  for (const ImportFamily &family : importFamilies())
    for (const char *name : family.models)
      if (model == name)
        return &family;
  return nullptr;
}

// The config of the model that is imported.
struct InnerConfig {
  const Json *config = nullptr; // null: options.inner names no object
  bool whole = false;           // it is the one that was read
  std::string at;               // its key, if it is neither the whole nor the text model
};

// A config that describes several models inside of it keeps the text one under one of these keys.
constexpr const char *textKeys[] = {"text_config", "llm_config", "language_config", "thinker_config.text_config"};

InnerConfig innerConfig(const Json &root, const ImportOptions &options) {
  auto under = [&](const std::string &key) {
    const Json *inner = memberOf(root, key);
    return inner && inner->is_object() ? inner : nullptr;
  };
  for (const char *key : textKeys)
    if (const Json *text = under(key); text && (options.inner.empty() || options.inner == key))
      return {text, false, ""};
  if (!options.inner.empty())
    return {under(options.inner), false, options.inner};
  return {&root, true, ""};
}

const char *typeNamed(std::string word) {
  if (word.rfind("torch.", 0) == 0)
    word.erase(0, 6);
  static const std::pair<const char *, const char *> names[] = {
      {"bfloat16", "bf16"}, {"bf16", "bf16"},   {"float16", "f16"}, {"half", "f16"}, {"fp16", "f16"},
      {"f16", "f16"},       {"float32", "f32"}, {"float", "f32"},   {"fp32", "f32"}, {"f32", "f32"}};
  for (auto [theirs, ours] : names)
    if (word == theirs)
      return ours;
  return nullptr;
}

void fillTypes(ImportState &import, const Json &root) {
  if (!import.options.dtype.empty()) {
    if (const char *type = typeNamed(import.options.dtype))
      return import.put("dtype", type, "--dtype");
    return import.fail("E-IMPORT-KEY", "dtype",
                       "--dtype " + quoteText(import.options.dtype) + " is not f32, bf16 or f16");
  }
  std::string key, word;
  for (const Json *from : {&import.config, &root})
    for (const char *name : {"torch_dtype", "dtype"})
      if (const Json *value = memberOf(*from, name); value && word.empty()) {
        key = name;
        if (!value->is_string())
          return import.fail("E-IMPORT-KEY", key, key + " must be a text");
        word = value->get<std::string>();
      }
  if (const char *type = typeNamed(word))
    return import.put("dtype", type, key);
  if (!word.empty() && word != "auto")
    return import.fail("E-IMPORT-KEY", key,
                       key + " is " + quoteText(word) + ", which is not float32, bfloat16 or float16",
                       "--dtype f32, bf16 or f16 says which type converted weights have");
  import.put("dtype", "bf16", "default: the config names no floating-point type");
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
    if (!family.refused)
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
  const Json *type = memberOf(config, "model_type");
  if (!type || !type->is_string() || !familyOf(type->get<std::string>()))
    if (const Json *outer = memberOf(root, "model_type"); outer && outer->is_string())
      type = outer;
  if (!type || !type->is_string()) {
    refuse(out, "E-IMPORT-KEY", "model_type", "the config has no model_type", "it names the family whose rules apply");
    return nullptr;
  }
  out.family = type->get<std::string>();
  const ImportFamily *family = familyOf(out.family);
  if (family && family->refused) {
    refuse(out, "E-UNSUPPORTED", "model_type",
           "layers of " + out.family + " have " + family->refused + ", which is not built",
           "moec import hf --list names the models that are supported");
    return nullptr;
  }
  if (family)
    return family;
  std::optional<std::string> closest = closestSpelling(out.family.substr(0, maxWord), importableModels());
  refuse(out, "E-IMPORT-MODEL", "model_type", "model_type " + quoteText(out.family) + " is not known",
         closest
             ? "did you mean \"" + *closest +
                   "\"? a model of another type may route in another way; else write the spec by hand: dsl/README.md"
             : "write the spec by hand: dsl/README.md; moec import hf --list names the known ones");
  return nullptr;
}

// Names of tensors in a model that holds the text model are those of the whole.
static void choosePrefix(ImportState &import, const ImportFamily &family, const Json &root, const InnerConfig &inner) {
  const Json *type = memberOf(root, "model_type");
  std::string outer = type && type->is_string() ? type->get<std::string>() : "";
  const char *within = inner.whole ? family.prefix : prefixWithin(root, outer, inner.at);
  import.out.prefix = withLayer(within ? within : family.prefix, import.layer());
  if (!within)
    import.out.findings.push_back(
        Diagnostic::warning("W-IMPORT-PREFIX",
                            "the names of tensors of the model around " + import.out.family + " (" +
                                (outer.empty() ? "without model_type" : outer.substr(0, maxWord)) + ") are not known",
                            "\"" + import.out.prefix + "\", as without a model around it", "model_type"));
}

static void noteUnread(ImportState &import) {
  for (const std::string &key : import.unreadKeys()) {
    std::string message = key.substr(0, maxWord) + " looks like experts, routing or an activation, and no rule of " +
                          import.out.family + " reads it";
    if (import.options.strict)
      import.fail("E-IMPORT-KEY", key, message, "without --strict this is a warning");
    else
      import.out.findings.push_back(Diagnostic::warning("W-IMPORT-KEY", message, "the spec as if it was absent", key));
  }
}

static void fillHidden(ImportState &import, const HiddenKey &hidden) {
  if (hidden.published && !import.has({hidden.key, "hidden_size"}))
    import.fromFamily("hidden", hidden.published);
  else if (hidden.key)
    import.integer("hidden", {hidden.key, "hidden_size"});
  else
    import.integer("hidden", {"hidden_size", "d_model", "emb_size"});
}

// The model's config and family; null: the reason is in `out`.
static const ImportFamily *chooseModel(const Json &root, const ImportOptions &options, InnerConfig &inner,
                                       ImportResult &out) {
  inner = innerConfig(root, options);
  if (inner.config)
    return chooseFamily(*inner.config, options.inner.empty() ? root : *inner.config, out);
  refuse(out, "E-IMPORT-KEY", "inner", "the config has no object under " + quoteText(options.inner),
         "--inner names a key of the config, as in talker_config.text_config");
  return nullptr;
}

static bool importRoot(const Json &root, const ImportOptions &options, ImportResult &out) {
  InnerConfig inner;
  const ImportFamily *family = chooseModel(root, options, inner, out);
  if (!family)
    return false;
  ImportState import(*inner.config, options, out);
  import.spec["moec"] = 1;
  import.spec["name"] = options.name;
  import.chooseLayer(family->rule);
  if (import.failed())
    return false;
  choosePrefix(import, *family, root, inner);
  fillHidden(import, family->hidden);
  fillTypes(import, root);
  family->fill(import);
  families::finish(import);
  noteQuantisation(import, root);
  if (!import.failed())
    noteUnread(import);
  if (import.failed())
    return false;
  out.spec = import.spec.dump(2) + "\n";
  return true;
}

bool importConfig(std::string_view text, const ImportOptions &options, ImportResult &out) {
  out = {};
  std::optional<Json> root = readConfigText(text, options.fileName, out.findings);
  return root && importRoot(*root, options, out);
}

bool importLayers(std::string_view text, const ImportOptions &options, std::vector<LayerGroup> &groups,
                  std::vector<Diagnostic> &findings) {
  groups.clear();
  std::optional<Json> root = readConfigText(text, options.fileName, findings);
  if (!root)
    return false;
  ImportResult whole;
  InnerConfig inner;
  if (!chooseModel(*root, options, inner, whole)) {
    findings = whole.findings;
    return false;
  }
  std::optional<int64_t> count = ImportState(*inner.config, options, whole).numLayers();
  constexpr int64_t most = 1 << 12;
  if (whole.findings.empty() && (!count || *count < 1 || *count > most))
    refuse(whole, "E-IMPORT-KEY", "num_hidden_layers",
           "the config does not say how many layers the model has, or more than " + std::to_string(most));
  if (!whole.findings.empty()) {
    findings = whole.findings;
    return false;
  }
  ImportOptions one = options;
  std::map<std::string, size_t> known; // spec, or the first error -> its group
  for (int64_t layer = 0; layer < *count; ++layer) {
    ImportResult result;
    one.layer = layer;
    importRoot(*root, one, result);
    std::string key = result.spec;
    auto error = std::find_if(result.findings.begin(), result.findings.end(),
                              [](const Diagnostic &finding) { return finding.severity == Severity::Error; });
    bool none = error != result.findings.end() && error->code == "E-IMPORT-LAYER";
    if (key.empty())
      key = none ? "none" : error->code + error->path;
    auto [at, isNew] = known.try_emplace(key, groups.size());
    if (isNew)
      groups.push_back({{}, std::move(result), !none});
    groups[at->second].layers.push_back(layer);
  }
  return true;
}

} // namespace moec
