// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one importConfig() call, and what families are written in. Private to dsl/Import*.cpp.

#ifndef MOEC_DSL_IMPORT_CONFIGIMPORT_H
#define MOEC_DSL_IMPORT_CONFIGIMPORT_H

#include "dsl/import/ImportConfig.h"

#include <nlohmann/json.hpp>

namespace moec {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Keys = std::initializer_list<const char *>;

class ConfigImport;

// Which layers have experts: all where `hasExperts` is null. `says` is for messages, `keys` are those that decide.
struct LayerRule {
  bool (*hasExperts)(const ConfigImport &, int64_t layer);
  const char *says;
  std::vector<const char *> keys;
};

class ConfigImport {
public:
  ConfigImport(const Json &config, const ImportOptions &options, ImportResult &out)
      : config(config), options(options), out(out) {}

  const Json &config;
  const ImportOptions &options;
  ImportResult &out;
  OrderedJson spec = OrderedJson::object();
  bool stackedUsed = false;

  // -- what the config says
  // The value of the first of `keys` that is there and not null, of a nested one as "ffn_config.moe_top_k"; a list with
  // an entry per layer gives that of this layer. `key`: which one it was.
  const Json *find(Keys keys, std::string *key = nullptr) const;
  bool has(const char *key) const { return find({key}) != nullptr; }
  bool writes(const char *key) const; // null too
  // `other` where there is none of `keys`; a value of another kind is an error.
  int64_t integerOr(Keys keys, int64_t other) const;
  double numberOr(Keys keys, double other) const;
  bool flagOr(Keys keys, bool other) const;
  std::string wordOr(Keys keys, const std::string &other) const;

  // -- what goes into the spec: from a key that must be there, from one that may be, or from the family
  int64_t integer(const char *path, Keys keys, int64_t low = 1);
  void number(const char *path, Keys keys, double fallback); // left out where it is `fallback`
  void optionalNumber(const char *path, Keys keys, double fallback);
  // A flag the config must hold; false after an error too.
  bool flag(const char *path, Keys keys);
  void put(const std::string &path, OrderedJson value, const std::string &source = "");
  void fromFamily(const std::string &path, OrderedJson value) { put(path, std::move(value), "family " + out.family); }
  // The activation: a name the config gives, checked against those that are built in.
  void activation(const char *path, Keys keys, const std::string &fallback = "");

  // -- where weights stand, behind the layer's prefix
  void weight(const char *role, const std::string &tensor, const char *stack = "", const char *axes = "",
              const char *part = "");
  void perExpert(const std::string &stem, const char *gate, const char *up, const char *down,
                 const char *tail = ".weight");
  void sharedBlock(const std::string &stem, const char *gate, const char *up, const char *down);

  // -- layers
  int64_t layer() const { return out.layer; }
  // Chooses the layer: the asked one, which must have experts, else the first that has. A config without the rule's
  // keys does not say which do: any layer is taken and that is said.
  void chooseLayer(const LayerRule &rule);

  void fail(const char *code, const std::string &key, const std::string &message, const std::string &hint = "") const;
  void unsupported(const std::string &key, const std::string &message, const std::string &hint);
  void missing(Keys keys, const char *path);
  void quirk(const std::string &key, const std::string &message, const std::string &chosen);
  bool failed() const;
};

// One row: the model types it is for, which layers have experts, how the spec is filled.
struct ImportFamily {
  std::vector<const char *> models;
  LayerRule rule;
  const char *prefix; // "model.layers.{l}."
  const char *nested; // the same where the config's text_config was entered
  void (*fill)(ConfigImport &);
};

const std::vector<ImportFamily> &importFamilies();

} // namespace moec

#endif
