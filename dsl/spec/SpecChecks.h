// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> what is inconsistent in it. Every constraint has a code, and its function stands under that code.

#ifndef MOEC_DSL_SPEC_SPECCHECKS_H
#define MOEC_DSL_SPEC_SPECCHECKS_H

#include "dsl/LayerSpec.h"
#include "dsl/spec/SpecSource.h"
#include "dsl/text/Diagnostic.h"

namespace moec {

// Adds an error for each violated constraint. `source` places them; one without a file (SpecSource()) is allowed for
// specs made in memory. Fields the reader could not read are not judged.
void checkSpec(const LayerSpec &spec, const SpecSource &source, DiagnosticList &diagnostics);

} // namespace moec

#endif
