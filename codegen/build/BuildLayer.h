// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> a module with one function of moe ops, or all reasons why this version cannot build it.

#ifndef MOEC_CODEGEN_BUILD_BUILDLAYER_H
#define MOEC_CODEGEN_BUILD_BUILDLAYER_H

#include "codegen/build/FunctionUses.h"
#include "codegen/build/Refusals.h"
#include "dsl/LayerSpec.h"
#include "dsl/text/Diagnostic.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <vector>

namespace moec {

// Loads the dialects a built layer needs.
void loadMoeDialects(mlir::MLIRContext &context);

// The layer as row ops, routing and matmuls. The result never depends on a model's name. `spec` must be valid
// (SpecChecks). The hash of the spec and of the functions that it applies (LayerHash.h) becomes the layer's identity
// (LayerIdentity.h); `functions` must hold none of another layer. The module verifies. Null exactly if errors were
// appended: E-UNSUPPORTED for each key that is not built, else E-TEMPLATE for each function file that cannot be used,
// else E-INTERNAL. With `form` Apply functions are moe.apply, as differentiation wants them (grad/Differentiate.h).
mlir::OwningOpRef<mlir::ModuleOp> buildLayer(mlir::MLIRContext &context, const LayerSpec &spec,
                                             FunctionLibrary &functions, std::vector<Diagnostic> &errors,
                                             FunctionUses::Form form = FunctionUses::Form::Body);

} // namespace moec

#endif
