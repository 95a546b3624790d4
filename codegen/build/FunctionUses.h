// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that builders apply -> their bodies, or one refusal for each function that cannot be used.

#ifndef MOEC_CODEGEN_BUILD_FUNCTIONUSES_H
#define MOEC_CODEGEN_BUILD_FUNCTIONUSES_H

#include "codegen/build/FunctionLibrary.h"
#include "codegen/build/Refusals.h"

namespace moec {

// A function file is read when the first builder applies it, so only files that the layer needs are read.
class FunctionUses {
public:
  // Appends to `refusals`. Both must outlive the object.
  FunctionUses(FunctionLibrary &library, std::vector<Refusal> &refusals) : library(library), refusals(refusals) {}

  // f(x) at the builder's place. `key` is the path of the spec's key that asks for f. If f cannot be used, the result
  // is x, and `refusals` has an entry: building goes on, so that all such functions are found in one run.
  mlir::Value apply(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, const char *key, mlir::Value x);

private:
  FunctionLibrary &library;
  std::vector<Refusal> &refusals;
};

} // namespace moec

#endif
