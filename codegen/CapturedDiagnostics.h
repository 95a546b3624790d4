// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What MLIR's parser, verifiers and passes say while an object of this class lives -> diagnostics of the compiler.

#ifndef MOEC_CODEGEN_CAPTUREDDIAGNOSTICS_H
#define MOEC_CODEGEN_CAPTUREDDIAGNOSTICS_H

#include "dsl/text/Diagnostic.h"

#include "mlir/IR/Diagnostics.h"

#include <string>
#include <vector>

namespace moec {

// An error at the place that `location` names in a file, else of `file` as a whole (empty: no file).
Diagnostic errorAt(mlir::Location location, std::string code, std::string message, std::string file = "");

// Keeps MLIR's errors, in order; its warnings, remarks and notes are dropped. Each is at its place, see errorAt.
class CapturedDiagnostics {
public:
  CapturedDiagnostics(mlir::MLIRContext &context, std::string code, std::string file = "");
  CapturedDiagnostics(const CapturedDiagnostics &) = delete; // MLIR calls this very object
  CapturedDiagnostics &operator=(const CapturedDiagnostics &) = delete;

  // The error that MLIR reported first; `otherwise` is the message if it reported none.
  Diagnostic takeFirst(const std::string &otherwise);
  // One diagnostic per error that MLIR reported.
  std::vector<Diagnostic> takeAll() { return std::move(list); }
  // All of them as one: the first, with the placed messages of the others as further lines.
  Diagnostic takeJoined(const std::string &otherwise);

private:
  mlir::LogicalResult keep(mlir::Diagnostic &said);

  std::string code, file;
  std::vector<Diagnostic> list;
  mlir::ScopedDiagnosticHandler handler; // calls keep(), so it is the last to be made
};

} // namespace moec

#endif
