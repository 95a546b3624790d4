// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Function files: the MLIR parser reads them, checkFunction() keeps them to straight-line scalar code.

#include "codegen/build/FunctionLibrary.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/TemplateFiles.h"
#include "codegen/TextNesting.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace moec {

namespace {

constexpr const char *code = "E-TEMPLATE";
constexpr unsigned maxFunctionOps = 256;
constexpr const char *allowedOps = "arith.{constant,addf,subf,mulf,divf,negf,maximumf,minimumf,cmpf,select}, "
                                   "math.{exp,expm1,log,log1p,tanh,erf,sqrt,absf}";

bool isAllowed(Operation &op) {
  return isa<arith::ConstantOp, arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
             arith::MaximumFOp, arith::MinimumFOp, arith::CmpFOp, arith::SelectOp, math::ExpOp, math::ExpM1Op,
             math::LogOp, math::Log1pOp, math::TanhOp, math::ErfOp, math::SqrtOp, math::AbsFOp>(op);
}

std::string derivativeName(StringRef name) { return name.str() + "_derivative"; }

bool isFunctionScalar(Type type) { return type.isF32() || type.isInteger(1); }

// The one function of `module`.
Result<func::FuncOp> checkFunction(ModuleOp module, StringRef name) {
  func::FuncOp function;
  for (Operation &op : *module.getBody()) {
    if (function || !isa<func::FuncOp>(op))
      return errorAt(op.getLoc(), code,
                     "a function file holds one func.func, found " + op.getName().getStringRef().str());
    function = cast<func::FuncOp>(op);
  }
  std::string form = "func.func @" + name.str() + "(%x: f32) -> f32 { ... }";
  if (!function)
    return errorAt(module.getLoc(), code, "the file holds no function, expected " + form);
  Type f32 = Float32Type::get(module.getContext());
  if (function.getName() != name || function.getFunctionType() != FunctionType::get(module.getContext(), f32, f32) ||
      !function.getBody().hasOneBlock())
    return errorAt(function.getLoc(), code, "expected " + form);
  unsigned count = 0;
  for (Operation &op : function.getBody().front().without_terminator()) {
    bool allowed = isAllowed(op) && llvm::all_of(op.getResultTypes(), isFunctionScalar) && ++count <= maxFunctionOps;
    if (!allowed)
      return errorAt(op.getLoc(), code,
                     "found " + op.getName().getStringRef().str() + ", allowed are at most " +
                         std::to_string(maxFunctionOps) + " of " + allowedOps + " on f32");
  }
  return function;
}

struct ParsedFunction {
  OwningOpRef<ModuleOp> module; // owns `function`
  func::FuncOp function;
};

Result<ParsedFunction> parseFunction(MLIRContext &context, const std::string &text, StringRef file, StringRef name) {
  if (Result<> flat = checkNesting(text, file.str(), code); !flat)
    return flat.takeError();
  CapturedDiagnostics said(context, code, file.str());
  ParsedFunction parsed;
  parsed.module = parseSourceString<ModuleOp>(text, ParserConfig(&context), /*sourceName=*/file);
  if (!parsed.module)
    return said.takeFirst("is not MLIR text");
  Result<func::FuncOp> function = checkFunction(*parsed.module, name);
  if (!function)
    return function.takeError();
  parsed.function = *function;
  return parsed;
}

} // namespace

Result<> FunctionLibrary::load(StringRef folder, StringRef name, StringRef function) {
  if (functions.count(function.str()))
    return {};
  bool plain = !name.empty() && llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  Result<std::optional<TemplateText>> text = std::nullopt;
  std::string path = (folder + "/" + name + ".mlir").str();
  if (plain)
    text = readTemplate(overlayDir, path);
  if (!text)
    return text.takeError();
  if (!*text && folder == "derivatives")
    return Diagnostic::error(code, "function '" + name.str() + "' has no derivative: " + path + " not found",
                             "add the file, with func.func @" + function.str() +
                                 "(%x: f32) -> f32, to the folder of --templates, or train without it");
  if (!*text)
    return Diagnostic::error(code, "function '" + name.str() + "' not found; available: " +
                                       llvm::join(templateNames(overlayDir, "functions"), ", "));
  Result<ParsedFunction> parsed = parseFunction(context, (*text)->text, (*text)->file, function);
  if (!parsed)
    return parsed.takeError();
  functions[function.str()] = parsed->function;
  if (folder == "functions")
    loadedTexts[name.str()] = (*text)->text;
  else
    loadedDerivatives.push_back(name.str());
  modules[function.str()] = std::move(parsed->module);
  return {};
}

Result<> FunctionLibrary::load(StringRef name) { return load("functions", name, name); }
Result<> FunctionLibrary::loadDerivative(StringRef name) { return load("derivatives", name, derivativeName(name)); }

Result<> FunctionLibrary::check(MLIRContext &context, const std::string &text, StringRef file, StringRef name) {
  Result<ParsedFunction> parsed = parseFunction(context, text, file, name);
  return parsed ? Result<>() : parsed.takeError();
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

void FunctionLibrary::expand(func::FuncOp function) const {
  SmallVector<moe::GradientOfOp> values;
  function.walk([&](moe::GradientOfOp op) { values.push_back(op); });
  for (moe::GradientOfOp op : values) {
    op.replaceAllUsesWith(op.getValue());
    op.erase();
  }
  SmallVector<moe::ApplyOp> applied;
  function.walk([&](moe::ApplyOp op) { applied.push_back(op); });
  for (moe::ApplyOp op : applied) {
    OpBuilder builder(op);
    StringRef name = op.getFunction();
    op.replaceAllUsesWith(
        apply(builder, op.getLoc(), op.getDerivative() ? derivativeName(name) : name.str(), op.getX()));
    op.erase();
  }
}

} // namespace moec
