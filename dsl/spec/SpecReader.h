// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a spec -> LayerSpec, or every error of the text with its place.
//
// readSpec() reads and checks: its result is valid in the sense of SpecChecks.h.

#ifndef MOEC_DSL_SPEC_SPECREADER_H
#define MOEC_DSL_SPEC_SPECREADER_H

#include "dsl/LayerSpec.h"
#include "dsl/spec/SpecSource.h"
#include "dsl/text/Diagnostic.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct ReadOptions {
  std::vector<std::string> activations; // names of function files; those of the vocabulary may be among them
  std::string defaultName;              // `name` of a spec without one; other characters than [a-z0-9_] become _
  std::string dtype;                    // type name for a spec without `dtype`; empty: f32
  std::optional<unsigned> reports;      // bits (Reports.h) that replace those of `reports` in the spec
  JsonLimits limits;
};

// nullopt exactly if `diagnostics` got an error. Keep `source` to locate keys later; it copies the text. Thread-safe:
// uses only its arguments.
std::optional<LayerSpec> readSpec(std::string_view text, std::string_view fileName, const ReadOptions &options,
                                  SpecSource &source, DiagnosticList &diagnostics);

// [a-z][a-z0-9_]{0,62} and not reserved. Keywords of C such as `switch` are allowed, because a layer name is always
// only the first part of a symbol (NAME_package).
bool isLayerName(std::string_view name);
bool isReservedName(std::string_view name); // "moec", "moec_...": the runtime's

// "build/My-Layer.json" -> "my_layer": the default name of a file.
std::string layerNameOf(std::string_view fileName);

} // namespace moec

#endif
