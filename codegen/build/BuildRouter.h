// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// router block of a spec -> ids, weights, and the choices that reach their experts.

#ifndef MOEC_CODEGEN_BUILD_BUILDROUTER_H
#define MOEC_CODEGEN_BUILD_BUILDROUTER_H

#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"

#include "dsl/LayerSpec.h"

namespace moec {

// A router of any kind: the order of its stages. `layer.present` decides which tokens choose experts.
RouterValues buildRouter(RowOps &ops, const LayerSpec &spec, const LayerValues &layer);

} // namespace moec

#endif
