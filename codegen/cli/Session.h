// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shared by every verb: the streams for results and messages, how much to print, and how to report a failure.
//
// stdout holds only results, stderr everything else.

#ifndef MOEC_CODEGEN_CLI_SESSION_H
#define MOEC_CODEGEN_CLI_SESSION_H

#include "dsl/text/Diagnostic.h"

#include "llvm/Support/raw_ostream.h"

#include <optional>
#include <string>

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

struct Session {
  llvm::raw_ostream &out, &err;
  bool quiet = false; // no progress, no summary; errors still
  bool color = false; // of stderr
};

// Prints one error that has no place in a file and returns `exit`:
//   moec: error[E-EXISTS]: folder "tiny" exists
//     hint: ...
int fail(Session &session, ExitCode exit, std::string code, std::string message, std::string hint = {});

// The same form for a warning.
void warn(Session &session, std::string code, std::string message, std::string hint = {});

// The text of `moec check --explain CODE` for codes of the command line; nullopt: not such a code.
std::optional<std::string> explainCliCode(llvm::StringRef code);

// Reads a file of at most `limit` bytes. If it cannot be read, prints the error and returns 8. `what` names it: "spec".
int readTextFile(Session &session, const std::string &path, const char *what, size_t limit, std::string &text);

} // namespace moec

#endif
