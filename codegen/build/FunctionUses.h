// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that builders apply -> their bodies, or one error for each function that cannot be used.

#ifndef MOEC_CODEGEN_BUILD_FUNCTIONUSES_H
#define MOEC_CODEGEN_BUILD_FUNCTIONUSES_H

#include "codegen/build/FunctionLibrary.h"

#include "dsl/text/Diagnostic.h"

#include <vector>

namespace moec {

// A function file is read when the first builder applies it, so only files that the layer needs are read.
class FunctionUses {
public:
  // How f(x) is written: as the body of f, or as a moe.apply in layers that are differentiated.
  enum class Form { Body, Apply };

  // Appends to `errors`. Both must outlive the object.
  FunctionUses(FunctionLibrary &library, std::vector<Diagnostic> &errors, Form form = Form::Body)
      : library(library), errors(errors), form(form) {}

  // f(x) at the builder's place. `key` is the path of the spec's key that asks for f. If f cannot be used, the result
  // is x, and `errors` has an entry: building goes on, so that all such functions are found in one run.
  mlir::Value apply(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, const char *key, mlir::Value x);

  // Whether the layer will be differentiated.
  bool differentiated() const { return form == Form::Apply; }

private:
  FunctionLibrary &library;
  std::vector<Diagnostic> &errors;
  Form form;
};

} // namespace moec

#endif
