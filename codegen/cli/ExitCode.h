// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Codes of diagnostics -> exit codes of the process. This is the only place that decides: no room of the compiler knows
// how the program ends.

#ifndef MOEC_CODEGEN_CLI_EXITCODE_H
#define MOEC_CODEGEN_CLI_EXITCODE_H

#include "dsl/text/Diagnostic.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// The process's exit codes; the table is in codegen/cli/README.md.
enum ExitCode : int {
  ExitDone = 0,
  ExitCheckFailed = 1,
  ExitUsage = 2,
  ExitInvalid = 3,
  ExitUnsupported = 4,
  ExitTool = 5,
  ExitDevice = 6,
  ExitInternal = 7,
  ExitFile = 8,
  ExitLimit = 9,
  ExitInterrupted = 130
};

// Codes of an input file (DiagnosticCodes.cpp) are ExitInvalid, but E-UNSUPPORTED is ExitUnsupported. Codes of the
// compiler and the command line have theirs in the table of ExitCode.cpp. Warnings are ExitDone. A code that neither
// table holds is a mistake in moec: ExitInternal.
ExitCode exitCodeOf(std::string_view code);

// Of the errors of one run: ExitInternal if one of them is, else the largest; warnings do not count. ExitInternal if
// there is no error, for something failed and did not say why.
ExitCode exitCodeOf(const std::vector<Diagnostic> &errors);

// The text of `moec check --explain CODE` for codes of the compiler and the command line; nullopt: not such a code.
std::optional<std::string> explainCliCode(std::string_view code);
std::vector<std::string> cliCodes(); // all of them, in the order of the table

} // namespace moec

#endif
