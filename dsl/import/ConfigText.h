// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a config.json -> its JSON object, or why it has none, with line and column. Private to dsl/import/*.cpp.

#ifndef MOEC_DSL_IMPORT_CONFIGTEXT_H
#define MOEC_DSL_IMPORT_CONFIGTEXT_H

#include "dsl/import/ImportState.h"

#include <optional>
#include <string_view>
#include <vector>

namespace moec {

constexpr size_t maxConfigBytes = 4 << 20;

// NaN, Infinity and -Infinity, which Python's json writes, become texts: a key that is read and holds one is refused
// as any text is. `fileName` is named in errors. nullopt: `findings` holds an error.
std::optional<Json> readConfigText(std::string_view text, std::string_view fileName, std::vector<Diagnostic> &findings);

} // namespace moec

#endif
