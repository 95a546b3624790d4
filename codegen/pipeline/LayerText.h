// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of the moe dialect -> the layer in it, before any stage has changed it.

#ifndef MOEC_CODEGEN_PIPELINE_LAYERTEXT_H
#define MOEC_CODEGEN_PIPELINE_LAYERTEXT_H

#include "codegen/CompileOptions.h"

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

// Null: errors were appended, each "FILE:LINE:COLUMN: what is wrong" with exit code 3.
std::unique_ptr<LayerText> parseLayerText(const std::string &text, const std::string &file,
                                          std::vector<CompileError> &errors);

// Whether the text's first function takes scalars, as function files do; a layer takes tensors. False for what does not
// parse.
bool isFunctionText(const std::string &text);

// The text of the function file `file`, whose function is called `name`. False: an error was appended.
bool checkFunctionText(const std::string &text, const std::string &file, const std::string &name,
                       std::vector<CompileError> &errors);

} // namespace moec

#endif
