// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A handler that swallows everything and keeps the errors.

#include "codegen/CapturedDiagnostics.h"

#include "mlir/IR/Location.h"

namespace moec {

Diagnostic errorAt(mlir::Location location, std::string code, std::string message, std::string file) {
  Diagnostic error = Diagnostic::error(std::move(code), std::move(message));
  error.file = std::move(file);
  if (auto place = location->findInstanceOf<mlir::FileLineColLoc>()) {
    error.file = place.getFilename().str();
    error.line = place.getLine();
    error.column = place.getColumn();
    error.length = error.line ? 1 : 0;
  }
  return error;
}

CapturedDiagnostics::CapturedDiagnostics(mlir::MLIRContext &context, std::string code, std::string file)
    : code(std::move(code)), file(std::move(file)),
      handler(&context, [this](mlir::Diagnostic &said) { return keep(said); }) {}

mlir::LogicalResult CapturedDiagnostics::keep(mlir::Diagnostic &said) {
  if (said.getSeverity() != mlir::DiagnosticSeverity::Error)
    return mlir::success();
  list.push_back(errorAt(said.getLocation(), code, said.str(), file));
  return mlir::success();
}

Diagnostic CapturedDiagnostics::takeFirst(const std::string &otherwise) {
  if (!list.empty())
    return std::move(list.front());
  Diagnostic silent = Diagnostic::error(code, otherwise);
  silent.file = file;
  return silent;
}

Diagnostic CapturedDiagnostics::takeJoined(const std::string &otherwise) {
  Diagnostic joined = takeFirst(otherwise);
  for (size_t i = 1; i < list.size(); ++i)
    joined.message += "\n" + list[i].placedMessage();
  return joined;
}

} // namespace moec
