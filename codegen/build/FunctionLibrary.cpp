// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Function files: the MLIR parser reads them, checkFunction() keeps them to straight-line scalar code.

#include "codegen/build/FunctionLibrary.h"

#include "codegen/TemplateFiles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace moec {

namespace {

constexpr unsigned maxFunctionOps = 256;
constexpr const char *allowedOps =
    "arith.{constant,addf,subf,mulf,divf,negf,maximumf,minimumf,cmpf,select}, math.{exp,log,log1p,tanh,erf,sqrt,absf}";

std::string placed(Location loc, const std::string &text) {
  std::string place;
  if (auto file = loc->findInstanceOf<FileLineColLoc>())
    place =
        file.getFilename().str() + ":" + std::to_string(file.getLine()) + ":" + std::to_string(file.getColumn()) + ": ";
  return place + text;
}

bool isAllowed(Operation &op) {
  return isa<arith::ConstantOp, arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
             arith::MaximumFOp, arith::MinimumFOp, arith::CmpFOp, arith::SelectOp, math::ExpOp, math::LogOp,
             math::Log1pOp, math::TanhOp, math::ErfOp, math::SqrtOp, math::AbsFOp>(op);
}

bool isFunctionScalar(Type type) { return type.isF32() || type.isInteger(1); }

// The one function of `module`, or null with `error` set.
func::FuncOp checkFunction(ModuleOp module, StringRef name, std::string &error) {
  func::FuncOp function;
  for (Operation &op : *module.getBody()) {
    if (function || !isa<func::FuncOp>(op)) {
      error = placed(op.getLoc(), "a function file holds one func.func, found " + op.getName().getStringRef().str());
      return {};
    }
    function = cast<func::FuncOp>(op);
  }
  std::string form = "func.func @" + name.str() + "(%x: f32) -> f32 { ... }";
  if (!function) {
    error = placed(module.getLoc(), "the file holds no function, expected " + form);
    return {};
  }
  Type f32 = Float32Type::get(module.getContext());
  if (function.getName() != name || function.getFunctionType() != FunctionType::get(module.getContext(), f32, f32) ||
      !function.getBody().hasOneBlock()) {
    error = placed(function.getLoc(), "expected " + form);
    return {};
  }
  unsigned count = 0;
  for (Operation &op : function.getBody().front().without_terminator()) {
    bool allowed = isAllowed(op) && llvm::all_of(op.getResultTypes(), isFunctionScalar) && ++count <= maxFunctionOps;
    if (allowed)
      continue;
    error = placed(op.getLoc(), "found " + op.getName().getStringRef().str() + ", allowed are at most " +
                                    std::to_string(maxFunctionOps) + " of " + allowedOps + " on f32");
    return {};
  }
  return function;
}

// The module of a function file and its function; null with `error` set.
OwningOpRef<ModuleOp> parseFunction(MLIRContext &context, const std::string &text, StringRef file, StringRef name,
                                    func::FuncOp &function, std::string &error) {
  std::string parseError;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (parseError.empty())
      parseError = placed(diagnostic.getLocation(), diagnostic.str());
    return success();
  });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, ParserConfig(&context), /*sourceName=*/file);
  if (!module) {
    error = parseError.empty() ? file.str() + ": is not MLIR text" : parseError;
    return nullptr;
  }
  function = checkFunction(*module, name, error);
  return function ? std::move(module) : nullptr;
}

} // namespace

bool FunctionLibrary::load(StringRef name, std::string &error) {
  if (functions.count(name.str()))
    return true;
  std::string readError;
  bool plain = !name.empty() && llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  std::optional<TemplateText> text;
  if (plain)
    text = readTemplate(overlayDir, "functions/" + name.str() + ".mlir", readError);
  if (!text) {
    error = !readError.empty() ? readError
                               : "there is no function file for '" + name.str() + "'; known are " +
                                     llvm::join(templateNames(overlayDir, "functions"), ", ");
    return false;
  }
  func::FuncOp function;
  OwningOpRef<ModuleOp> module = parseFunction(context, text->text, text->file, name, function, error);
  if (!module)
    return false;
  functions[name.str()] = function;
  modules[name.str()] = std::move(module);
  return true;
}

bool FunctionLibrary::check(MLIRContext &context, const std::string &text, StringRef file, StringRef name,
                            std::string &error) {
  func::FuncOp function;
  return bool(parseFunction(context, text, file, name, function, error));
}

Value FunctionLibrary::apply(OpBuilder &builder, Location loc, StringRef name, Value x) const {
  func::FuncOp function = functions.at(name.str());
  IRMapping mapping;
  Block &block = function.getBody().front();
  mapping.map(block.getArgument(0), x);
  for (Operation &op : block.without_terminator())
    builder.clone(op, mapping)->setLoc(loc);
  return mapping.lookup(block.getTerminator()->getOperand(0));
}

} // namespace moec
