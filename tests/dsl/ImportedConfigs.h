// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Published configs by label, and their imports, for tests of the importer.

#ifndef MOEC_TESTS_DSL_IMPORTEDCONFIGS_H
#define MOEC_TESTS_DSL_IMPORTEDCONFIGS_H

#include "dsl/import/ImportConfig.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

namespace moec {

inline LayerSpec specOf(const std::string &text) {
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(text, "spec", {}, source, diagnostics);
  EXPECT_TRUE(spec) << render(diagnostics, false) << text;
  return spec.value_or(LayerSpec{});
}

// One entry of published_configs.json or more_published_configs.json: a config with the values a model was published
// with, and its layer: a preset's, or the spec beside it.
struct Published {
  std::string label, config;
  int64_t layer = 0; // that is found
  nlohmann::json entry;
};

inline void PrintTo(const Published &published, std::ostream *os) { *os << published.label; }

inline std::vector<Published> publishedConfigs() {
  std::vector<Published> all;
  for (const char *name : {"published_configs.json", "more_published_configs.json"}) {
    std::ifstream file(std::string(MOEC_SOURCE_DIR "/tests/dsl/") + name);
    for (const nlohmann::json &entry : nlohmann::json::parse(file))
      all.push_back({entry["label"], entry["config"].dump(), entry["layer"], entry});
  }
  return all;
}

inline Published publishedAs(const std::string &label) {
  for (Published &published : publishedConfigs())
    if (published.label == label)
      return published;
  ADD_FAILURE() << "no config is called " << label;
  return {};
}

inline bool import(const std::string &config, std::optional<int64_t> layer, ImportResult &result) {
  ImportOptions options;
  options.layer = layer;
  return importConfig(config, options, result);
}

inline const Diagnostic *findingOf(const ImportResult &result, const std::string &code) {
  auto found =
      std::find_if(result.findings.begin(), result.findings.end(), [&](const Diagnostic &f) { return f.code == code; });
  return found == result.findings.end() ? nullptr : &*found;
}

// Imports a published config, whose trap at `path` must be said together with what was chosen.
inline void expectTrap(const std::string &label, const std::string &path) {
  ImportResult result;
  ASSERT_TRUE(import(publishedAs(label).config, std::nullopt, result)) << label;
  const Diagnostic *finding = findingOf(result, "W-QUIRK");
  ASSERT_TRUE(finding) << label;
  EXPECT_EQ(finding->path, path) << label;
  EXPECT_FALSE(finding->hint.empty()) << label;
}

// `config` with `keys` merged into it; a key that is null there is removed.
inline std::string changed(const std::string &config, const char *keys) {
  nlohmann::json merged = nlohmann::json::parse(config);
  merged.merge_patch(nlohmann::json::parse(keys));
  return merged.dump();
}

inline const char *const qwen3Config =
    R"({"model_type": "qwen3_moe", "hidden_size": 64, "moe_intermediate_size": 32, "num_experts": 8,
"num_experts_per_tok": 2, "norm_topk_prob": true, "decoder_sparse_step": 1})";

} // namespace moec

#endif
