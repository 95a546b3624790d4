// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR's parser and verifiers, then findLayer; what they say becomes errors.

#include "codegen/pipeline/LayerText.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/TextNesting.h"
#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/moe/LayerChecks.h"

#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace moec {

std::unique_ptr<LayerText> parseLayerText(const std::string &text, const std::string &file,
                                          std::vector<Diagnostic> &errors) {
  if (Result<> flat = checkNesting(text, file, "E-MOE"); !flat) {
    errors.push_back(flat.takeError());
    return nullptr;
  }
  auto out = std::make_unique<LayerText>();
  loadMoeDialects(out->context);
  CapturedDiagnostics said(out->context, "E-MOE");
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, file), llvm::SMLoc());
  out->module = parseSourceFile<ModuleOp>(sources, ParserConfig(&out->context));
  if (out->module)
    out->layer = findLayer(*out->module);
  if (out->layer)
    return out;
  std::vector<Diagnostic> found = said.takeAll();
  if (found.empty())
    found.push_back(Diagnostic::error("E-MOE", file + " holds no layer of the moe dialect"));
  errors.insert(errors.end(), found.begin(), found.end());
  return nullptr;
}

bool isFunctionText(const std::string &text) {
  if (!checkNesting(text, "", ""))
    return false;
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadMoeDialects(context);
  CapturedDiagnostics ignored(context, "E-MOE");
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, ParserConfig(&context));
  if (!module)
    return false;
  for (func::FuncOp function : module->getOps<func::FuncOp>())
    return function.getNumArguments() && llvm::none_of(function.getArgumentTypes(), llvm::IsaPred<ShapedType>);
  return false;
}

Result<> checkFunctionText(const std::string &text, const std::string &file, const std::string &name) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadMoeDialects(context);
  Result<> checked = FunctionLibrary::check(context, text, file, name);
  if (checked)
    return {};
  Diagnostic error = checked.takeError();
  error.code = "E-MOE"; // the file is the input, not a template of one
  return error;
}

} // namespace moec
