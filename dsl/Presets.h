// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A preset's name -> the text of its spec, and the JSON schema of specs; both are embedded when moec is built.

#ifndef MOEC_DSL_PRESETS_H
#define MOEC_DSL_PRESETS_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

std::vector<std::string> presetNames();                       // sorted: "deepseek-v2", ...
std::optional<std::string> presetText(std::string_view name); // nullopt: no such preset
// For "did you mean": presets that begin with the name, or the one spelled nearest to it. May be empty.
std::vector<std::string> nearPresets(std::string_view name);
std::string_view layerSchema(); // JSON Schema, draft 2020-12

// What EmbedPresets.cmake writes.
struct EmbeddedText {
  const char *name;
  const char *text;
};
extern const EmbeddedText embeddedPresets[];
extern const unsigned numEmbeddedPresets;
extern const char embeddedSchema[];

} // namespace moec

#endif
