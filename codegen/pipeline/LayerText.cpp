// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR's parser and verifiers, then findLayer; what they say becomes errors.

#include "codegen/pipeline/LayerText.h"

#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/moe/LayerChecks.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace moec {

std::unique_ptr<LayerText> parseLayerText(const std::string &text, const std::string &file,
                                          std::vector<CompileError> &errors) {
  auto out = std::make_unique<LayerText>();
  loadMoeDialects(out->context);
  ScopedDiagnosticHandler handler(&out->context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
      return success();
    std::string message;
    llvm::raw_string_ostream os(message);
    if (auto place = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
      os << place.getFilename().getValue() << ":" << place.getLine() << ":" << place.getColumn() << ": ";
    os << diagnostic;
    errors.push_back({3, "E-MOE", "", message, ""});
    return success();
  });
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, file), llvm::SMLoc());
  out->module = parseSourceFile<ModuleOp>(sources, ParserConfig(&out->context));
  if (out->module)
    out->layer = findLayer(*out->module);
  if (out->layer)
    return out;
  if (errors.empty())
    errors.push_back({3, "E-MOE", "", file + " holds no layer of the moe dialect", ""});
  return nullptr;
}

bool isFunctionText(const std::string &text) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadMoeDialects(context);
  ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, ParserConfig(&context));
  if (!module)
    return false;
  for (func::FuncOp function : module->getOps<func::FuncOp>())
    return function.getNumArguments() && llvm::none_of(function.getArgumentTypes(), llvm::IsaPred<ShapedType>);
  return false;
}

bool checkFunctionText(const std::string &text, const std::string &file, const std::string &name,
                       std::vector<CompileError> &errors) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadMoeDialects(context);
  std::string error;
  if (FunctionLibrary::check(context, text, file, name, error))
    return true;
  errors.push_back({3, "E-MOE", "", error, ""});
  return false;
}

} // namespace moec
