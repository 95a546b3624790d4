// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A kernel template, a stage and parameter values in -> a module with one tile.kernel, regions spliced in.

#ifndef MOEC_CODEGEN_TILE_INSTANTIATE_H
#define MOEC_CODEGEN_TILE_INSTANTIATE_H

#include "codegen/tile/MatmulStage.h"
#include "codegen/tile/TileDialect.h"

#include "dsl/text/Result.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

// One line of a template's parameter block, `#name = value : type // allowed` or `!name = type // allowed`.
struct TemplateParameter {
  std::string name;          // with its sigil: "#block_m", "!in"
  std::string value;         // default, as written: "32 : index", "#tile.hint<t1>", "bf16"
  std::string formula;       // of a derived parameter: "ceildiv(k, block_k)"
  size_t begin = 0, end = 0; // place of `value` in the text
};
std::vector<TemplateParameter> templateParameters(llvm::StringRef text);

// Integer formula over + - * / ( ) ceildiv min max, identifiers and literals.
Result<int64_t> evaluateFormula(llvm::StringRef formula, const std::map<std::string, int64_t> &names);

// Values of a variant: integers for `#x : index` parameters, words for hints ("t1", "nta", "none").
struct TemplateBinding {
  std::string templateName; // "panel"
  std::map<std::string, int64_t> integers;
  std::map<std::string, std::string> words;
};

// Binds the template's parameters: from the stage, from `binding`, by formula, or their defaults. Then parses the text,
// names the kernel `symbol`, attaches the stage's shape as attributes and splices its regions in. An unknown parameter,
// a value of the wrong kind, or text that does not verify is an error E-TEMPLATE with its place in the template.
Result<mlir::OwningOpRef<mlir::ModuleOp>> instantiateKernel(mlir::MLIRContext &context, const MatmulStage &stage,
                                                            const TemplateBinding &binding, llvm::StringRef overlayDir,
                                                            llvm::StringRef symbol);

} // namespace moec

#endif
