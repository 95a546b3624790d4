// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of the moe dialect -> the layer in it, before any stage has changed it.

#ifndef MOEC_CODEGEN_PIPELINE_LAYERTEXT_H
#define MOEC_CODEGEN_PIPELINE_LAYERTEXT_H

#include "dsl/text/Result.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>
#include <string>
#include <vector>

namespace moec {

struct LayerText {
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp layer; // accepted by findLayer
};

// Null: errors E-MOE were appended, each at its place of `file`.
std::unique_ptr<LayerText> parseLayerText(const std::string &text, const std::string &file,
                                          std::vector<Diagnostic> &errors);

// Whether the text's first function takes scalars, as function files do; a layer takes tensors. False for what does not
// parse.
bool isFunctionText(const std::string &text);

// Whether `text` is that of the function file `file`, whose function is called `name`. The error, E-MOE, is at its
// place of `file`.
Result<> checkFunctionText(const std::string &text, const std::string &file, const std::string &name);

} // namespace moec

#endif
