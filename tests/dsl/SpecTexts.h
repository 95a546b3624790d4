// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of the repository and specs in memory -> what the dsl tests need of them.

#ifndef MOEC_TESTS_DSL_SPECTEXTS_H
#define MOEC_TESTS_DSL_SPECTEXTS_H

#include "dsl/spec/SpecReader.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace moec {

inline std::string fileText(const std::string &path) {
  std::ifstream file(std::string(MOEC_SOURCE_DIR) + "/" + path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A spec with the dtype its case gives it.
struct GoldenSpec {
  std::string name, text, dtype;
};

inline std::vector<GoldenSpec> goldenSpecs() {
  std::vector<GoldenSpec> specs;
  for (const auto &entry : std::filesystem::directory_iterator(std::string(MOEC_SOURCE_DIR) + "/tests/golden")) {
    if (entry.path().extension() != ".json")
      continue;
    std::string name = entry.path().stem();
    auto json = nlohmann::ordered_json::parse(fileText("tests/golden/" + name + ".json"), nullptr, false);
    if (json.is_object() && json.contains("spec"))
      specs.push_back({name, json["spec"].dump(2), json.value("dtype", "")});
  }
  std::sort(specs.begin(), specs.end(), [](const auto &a, const auto &b) { return a.name < b.name; });
  return specs;
}

// What reading a text gave.
struct ReadResult {
  std::optional<LayerSpec> spec;
  SpecSource source;
  DiagnosticList diagnostics;
  std::string rendered() const { return render(diagnostics, false); }
};

inline ReadResult readText(const std::string &text, const ReadOptions &options = {}) {
  ReadResult result;
  result.spec = readSpec(text, "layer.json", options, result.source, result.diagnostics);
  return result;
}

} // namespace moec

#endif
