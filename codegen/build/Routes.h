// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec -> how its tokens reach experts: the routes of token choice, of experts that take tokens, and of slots.

#ifndef MOEC_CODEGEN_BUILD_ROUTES_H
#define MOEC_CODEGEN_BUILD_ROUTES_H

#include "codegen/moe/MoeDialect.h"
#include "dsl/LayerSpec.h"

namespace moec {

moe::Scope scopeOf(SelectScope scope);
moe::Scope scopeOf(CapacityScope scope);

// A route from tokens to `experts` experts. Its rows are bounded if experts take a fixed number of tokens.
moe::RouteType expertRoute(mlir::MLIRContext *context, const LayerSpec &spec, int64_t experts);

// Soft routing: P rows for each of `experts` experts and every scope.
moe::RouteType slotRoute(mlir::MLIRContext *context, const LayerSpec &spec, int64_t experts);

} // namespace moec

#endif
