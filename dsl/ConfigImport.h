// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one importConfig() call, and what families are written in. Private to dsl/Import*.cpp.

#ifndef MOEC_DSL_CONFIGIMPORT_H
#define MOEC_DSL_CONFIGIMPORT_H

#include "dsl/ImportConfig.h"

#include <nlohmann/json.hpp>

namespace moec {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Keys = std::initializer_list<const char *>;

class ConfigImport {
public:
  ConfigImport(const Json &config, ImportResult &out) : config(config), out(out) {}

  const Json &config;
  ImportResult &out;
  OrderedJson spec = OrderedJson::object();

  // -- what the config says
  // The value of the first of `keys` that is there and not null, of a nested one as "ffn_config.moe_top_k"; a list with an
  // entry per layer gives that of this layer. `key`: which one it was.
  const Json *find(Keys keys, std::string *key = nullptr) const;
  bool has(const char *key) const { return find({key}) != nullptr; }
  int64_t integerOr(Keys keys, int64_t other) const;
  double numberOr(Keys keys, double other) const;
  bool flagOr(Keys keys, bool other) const;
  std::string wordOr(Keys keys, const std::string &other) const;

  // -- what goes into the spec: from a key that must be there, from one that may be, or from the family
  int64_t integer(const char *path, Keys keys, int64_t low = 1);
  void optionalNumber(const char *path, Keys keys, double fallback);
  void put(const std::string &path, OrderedJson value, const std::string &source = "");
  void fromFamily(const std::string &path, OrderedJson value) { put(path, std::move(value), "family " + out.family); }
  // The activation: a name the config gives, checked against those that are built in.
  void activation(const char *path, Keys keys, const std::string &fallback = "");

  // -- where weights stand, behind the layer's prefix
  void weight(const char *role, const std::string &tensor, const char *stack = "", const char *axes = "", const char *part = "");
  void perExpert(const std::string &stem, const char *gate, const char *up, const char *down, const char *tail = ".weight");
  void sharedBlock(const std::string &stem, const char *gate, const char *up, const char *down);

  // -- layers
  int64_t layer() const { return out.layer; }
  // Chooses the layer: the asked one, which must have experts, else the first that has. `what` says which do.
  void chooseLayer(std::optional<int64_t> asked, int64_t numLayers, bool (*hasExperts)(const ConfigImport &, int64_t),
                   const std::string &what);

  void fail(const char *code, const std::string &key, const std::string &message, const std::string &hint = "");
  void missing(Keys keys, const char *path);
  void quirk(const std::string &key, const std::string &message, const std::string &chosen);
  bool failed() const;
};

// One row: the model types it is for, which layers have experts, how the spec is filled.
struct ImportFamily {
  std::vector<const char *> models;
  bool (*hasExperts)(const ConfigImport &, int64_t layer); // null: every layer
  const char *layers;                                      // which do, for messages
  const char *prefix;                                      // "model.layers.{l}."
  void (*fill)(ConfigImport &);
};

const std::vector<ImportFamily> &importFamilies();

} // namespace moec

#endif
