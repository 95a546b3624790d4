// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that carry the values of their own arguments -> their results as text. It is how the ops' tests say what an
// op means:
//
//   func.func @top(%x: tensor<?x3xf32> {moe.value = dense<[[1.0, 3.0, 3.0]]> : tensor<1x3xf32>}) -> tensor<?x2xi32>
//
//     @top
//       0: tensor<1x2> [[1, 2]]
//
// A function without tokens among its arguments says T in `moe.tokens`; `moe.sequence` is the length of a sequence.

#ifndef MOEC_CODEGEN_INTERPRET_EVALUATETEXT_H
#define MOEC_CODEGEN_INTERPRET_EVALUATETEXT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

namespace moec::interpret {

// Evaluates every function of `module` whose arguments all have a moe.value, or that has none and says moe.tokens.
// Failure: an error was emitted.
mlir::LogicalResult evaluateText(mlir::ModuleOp module, llvm::raw_ostream &os);

} // namespace moec::interpret

#endif
