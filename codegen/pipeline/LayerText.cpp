// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR's parser and verifiers, then findLayer; what they say becomes errors.

#include "codegen/pipeline/LayerText.h"

#include "codegen/build/BuildLayer.h"
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

} // namespace moec
