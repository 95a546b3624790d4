// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one importConfig() call, and the vocabulary of family definitions. Private to dsl/import/*.cpp.

#ifndef MOEC_DSL_IMPORT_IMPORTSTATE_H
#define MOEC_DSL_IMPORT_IMPORTSTATE_H

#include "dsl/import/ImportConfig.h"

#include <nlohmann/json.hpp>

#include <set>

namespace moec {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Keys = std::initializer_list<const char *>;

constexpr size_t maxWord = 64; // characters of a config's text that a message repeats

// The value at "ffn_config.moe_top_k"; null: none, or null.
const Json *memberOf(const Json &object, const std::string &path);

class ImportState;

// Which layers have experts; null `hasExperts`: all. `says` is for messages, `keys` are the config keys that decide.
struct LayerRule {
  bool (*hasExperts)(const ImportState &, int64_t layer);
  const char *says;
  std::vector<const char *> keys;
};

class ImportState {
public:
  ImportState(const Json &config, const ImportOptions &options, ImportResult &out)
      : config(config), options(options), out(out) {}

  const Json &config;
  const ImportOptions &options;
  ImportResult &out;
  OrderedJson spec = OrderedJson::object();
  bool stackedUsed = false;

  // -- what the config says
  // The value of the first of `keys` that exists and is not null; "ffn_config.moe_top_k" names a nested key. A count of
  // experts or of choices is also found under the names that other classes give it. If the value is a list with an
  // entry per layer, returns this layer's entry. `key`: which key it was. All of `keys` count as read.
  const Json *find(Keys keys, std::string *key = nullptr) const;
  bool has(const char *key) const { return find({key}) != nullptr; }
  bool has(Keys keys) const { return find(keys) != nullptr; }
  void ignore(Keys keys) const { find(keys); } // these mean nothing to this layer
  bool writes(const char *key) const;          // true also if the value is null
  // The whole value of a key, lists too; null: none, or null.
  const Json *whole(const char *key) const;
  // Keys that no find() and no whole() asked for although they look like experts, routing or an activation.
  std::vector<std::string> unreadKeys() const;
  // `other` if none of `keys` exists; a value of another kind is an error.
  int64_t integerOr(Keys keys, int64_t other) const;
  double numberOr(Keys keys, double other) const;
  bool flagOr(Keys keys, bool other) const;
  std::string wordOr(Keys keys, const std::string &other) const;

  // -- values for the spec: from a required key, from an optional key, or from the family
  int64_t integer(const char *path, Keys keys, int64_t low = 1);
  void number(const char *path, Keys keys, double fallback); // omitted from the spec if it equals `fallback`
  void optionalNumber(const char *path, Keys keys, double fallback);
  // A flag that the config must hold; false also after an error.
  bool flag(const char *path, Keys keys);
  void put(const std::string &path, OrderedJson value, const std::string &source = "");
  void fromFamily(const std::string &path, OrderedJson value) { put(path, std::move(value), "family " + out.family); }
  // The activation: a name from the config, which must be built in.
  void activation(const char *path, Keys keys, const std::string &fallback = "");

  // -- names of weights, without the layer's prefix
  void weight(const char *role, const std::string &tensor, const char *stack = "", const char *axes = "",
              const char *part = "");
  void perExpert(const std::string &stem, const char *gate, const char *up, const char *down,
                 const char *tail = ".weight");
  void sharedBlock(const std::string &stem, const char *gate, const char *up, const char *down);

  // -- layers
  int64_t layer() const { return out.layer; }
  // Chooses the layer: the requested one, which must have experts, otherwise the first that has experts. A config
  // without the rule's keys does not tell; then any layer is accepted, with a warning.
  void chooseLayer(const LayerRule &rule);
  // As the config says, or as long as its lists with an entry per layer; unset: it does not say.
  std::optional<int64_t> numLayers() const;

  void fail(const char *code, const std::string &key, const std::string &message, const std::string &hint = "") const;
  void unsupported(const std::string &key, const std::string &message, const std::string &hint);
  void missing(Keys keys, const char *path);
  void quirk(const std::string &key, const std::string &message, const std::string &chosen);
  bool failed() const;

private:
  mutable std::set<std::string> read;
};

// A quantised checkpoint is refused, because no package reads its weights; its layer in floating point can be had.
void noteQuantisation(ImportState &import, const Json &root);

// Where a token's width is if not under hidden_size, and what it is where published configs leave it out.
struct HiddenKey {
  const char *key = nullptr;
  int64_t published = 0;
};

// One family: its model types, which layers have experts, how the spec is filled.
struct ImportFamily {
  std::vector<const char *> models;
  LayerRule rule;
  const char *prefix; // "model.layers.{l}."
  void (*fill)(ImportState &);
  const char *refused = nullptr; // what a layer of this family has that no spec can say; then `fill` is null
  HiddenKey hidden = {};
};

const std::vector<ImportFamily> &importFamilies();

// The prefix of a layer's tensors in a model of type `outer`, whose config is `root`, around one that importFamilies()
// has: its text model, or the one under the key `at`. Null: not known.
const char *prefixWithin(const Json &root, const std::string &outer, const std::string &at);

} // namespace moec

#endif
