// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The text of a spec -> a file for people to edit.

#ifndef MOEC_CODEGEN_CLI_SPECOUTPUT_H
#define MOEC_CODEGEN_CLI_SPECOUTPUT_H

#include "Session.h"

#include <string>

namespace moec {

// Writes `text` to a new file; with `force` the file may exist. Prints errors and returns their exit code.
int writeSpecFile(Session &session, const std::string &path, const std::string &text, bool force);

} // namespace moec

#endif
