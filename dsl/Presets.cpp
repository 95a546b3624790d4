// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tables EmbedPresets.cmake writes -> look-up by name.

#include "dsl/Presets.h"

#include "dsl/text/Spelling.h"

namespace moec {

std::vector<std::string> presetNames() {
  std::vector<std::string> names;
  for (unsigned i = 0; i < numEmbeddedPresets; ++i)
    names.emplace_back(embeddedPresets[i].name);
  return names;
}

std::optional<std::string> presetText(std::string_view name) {
  for (unsigned i = 0; i < numEmbeddedPresets; ++i)
    if (name == embeddedPresets[i].name)
      return std::string(embeddedPresets[i].text);
  return std::nullopt;
}

std::vector<std::string> nearPresets(std::string_view name) {
  std::vector<std::string> near, all = presetNames();
  for (const std::string &preset : all)
    if (!name.empty() && preset.compare(0, name.size(), name) == 0)
      near.push_back(preset);
  if (near.empty())
    if (std::optional<std::string> closest = closestSpelling(name, all))
      near.push_back(*closest);
  return near;
}

std::string_view layerSchema() { return embeddedSchema; }

} // namespace moec
