// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The name of a scalar function -> its body as arith and math ops, from templates/functions/NAME.mlir; its derivative
// from templates/derivatives/NAME.mlir.

#ifndef MOEC_CODEGEN_BUILD_FUNCTIONLIBRARY_H
#define MOEC_CODEGEN_BUILD_FUNCTIONLIBRARY_H

#include "dsl/text/Result.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <map>
#include <string>

namespace moec {

// Function files, parsed once each. A file holds one `func.func @NAME(%x: f32) -> f32`: one block of at most 256 scalar
// arith and math ops; the file of a derivative holds @NAME_derivative. Not thread-safe; one library per compilation.
class FunctionLibrary {
public:
  // `context` must have the func, arith and math dialects loaded. `overlayDir` may be empty: built-in files only.
  FunctionLibrary(mlir::MLIRContext &context, std::string overlayDir)
      : context(context), overlayDir(std::move(overlayDir)) {}

  // Reads and checks the file. The error, E-TEMPLATE, has its place in that file, or says that the file is missing.
  Result<> load(llvm::StringRef name);
  // The same of the derivative's file. An error also if there is none: moec derives no function of an activation, whose
  // body may be shaped to keep overflow out.
  Result<> loadDerivative(llvm::StringRef name);

  // The same check of a text in memory: is it the function `name`? Keeps nothing.
  static Result<> check(mlir::MLIRContext &context, const std::string &text, llvm::StringRef file,
                        llvm::StringRef name);

  // f(x) at the builder's place; `name` must have been loaded.
  mlir::Value apply(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, mlir::Value x) const;
  // Puts the bodies in the place of every moe.apply of `function`, and the values in that of moe.gradient_of. All
  // functions must have been loaded.
  void expand(mlir::func::FuncOp function) const;

  // What was loaded: the text of each function by its name, and the functions whose derivatives were.
  const std::map<std::string, std::string> &texts() const { return loadedTexts; }
  const std::vector<std::string> &derivatives() const { return loadedDerivatives; }

private:
  Result<> load(llvm::StringRef folder, llvm::StringRef name, llvm::StringRef function);

  mlir::MLIRContext &context;
  std::string overlayDir;
  std::map<std::string, mlir::OwningOpRef<mlir::ModuleOp>> modules;
  std::map<std::string, mlir::func::FuncOp> functions;
  std::map<std::string, std::string> loadedTexts;
  std::vector<std::string> loadedDerivatives;
};

} // namespace moec

#endif
