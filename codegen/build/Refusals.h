// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> what of it is not built.

#ifndef MOEC_CODEGEN_BUILD_REFUSALS_H
#define MOEC_CODEGEN_BUILD_REFUSALS_H

#include "dsl/LayerSpec.h"

#include <string>
#include <vector>

namespace moec {

// A key that is valid but not built, or a template that cannot be used.
struct Refusal {
  std::string code;    // "E-UNSUPPORTED" or "E-TEMPLATE"
  std::string path;    // dotted JSON path of the key: "router.select.kind"
  std::string message; // one sentence: what was found, what is supported
  std::string hint;    // an action; may be empty
};

// Every field of `spec` that differs from its default and is not built. Empty: the layer can be built.
std::vector<Refusal> refusalsOf(const LayerSpec &spec);

} // namespace moec

#endif
