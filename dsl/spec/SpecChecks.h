// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> its inconsistencies. Every constraint has a code; SpecCheckList.h lists the function for each code.

#ifndef MOEC_DSL_SPEC_SPECCHECKS_H
#define MOEC_DSL_SPEC_SPECCHECKS_H

#include "dsl/LayerSpec.h"
#include "dsl/spec/SpecSource.h"
#include "dsl/text/Diagnostic.h"

namespace moec {

// Adds an error for each violated constraint. `source` gives their places; specs made in memory use SpecSource(). Skips
// fields that the reader could not read.
void checkSpec(const LayerSpec &spec, const SpecSource &source, DiagnosticList &diagnostics);

} // namespace moec

#endif
