// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shared by every verb: the streams for results and messages, how much to print, and how to report a failure.
//
// stdout holds only results, stderr everything else.

#ifndef MOEC_CODEGEN_CLI_SESSION_H
#define MOEC_CODEGEN_CLI_SESSION_H

#include "ExitCode.h"

#include "dsl/text/Diagnostic.h"

#include "llvm/Support/raw_ostream.h"

#include <string>

namespace moec {

struct Session {
  llvm::raw_ostream &out, &err;
  bool quiet = false; // no progress, no summary; errors still
  bool color = false; // of stderr
};

// Prints one error that has no place in the input and returns the exit code of its code (ExitCode.h):
//   moec: error[E-EXISTS]: folder "tiny" exists
//     hint: ...
int fail(Session &session, std::string code, std::string message, std::string hint = {});
int fail(Session &session, const Diagnostic &error); // its place, if it has one, becomes text

// The same form for a warning.
void warn(Session &session, std::string code, std::string message, std::string hint = {});

// Reads a file of at most `limit` bytes; `what` names it: "spec". If it cannot be read, prints the error and returns
// its exit code: 8, or 3 if the file is too large.
int readTextFile(Session &session, const std::string &path, const char *what, size_t limit, std::string &text);

} // namespace moec

#endif
