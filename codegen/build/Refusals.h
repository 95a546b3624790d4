// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> the keys that this version cannot build.

#ifndef MOEC_CODEGEN_BUILD_REFUSALS_H
#define MOEC_CODEGEN_BUILD_REFUSALS_H

#include "dsl/LayerSpec.h"
#include "dsl/text/Diagnostic.h"

#include <vector>

namespace moec {

// Every field of `spec` that differs from its default and is not built, as an error E-UNSUPPORTED with the path of the
// key. Empty: the layer can be built.
std::vector<Diagnostic> refusalsOf(const LayerSpec &spec);

} // namespace moec

#endif
