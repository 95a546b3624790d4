// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arguments that name results of moec bench -> those results; errors are printed with their lines.

#ifndef MOEC_CODEGEN_CLI_BENCHINPUT_H
#define MOEC_CODEGEN_CLI_BENCHINPUT_H

#include "Session.h"

#include "codegen/bench/BenchFile.h"

#include <string>

namespace moec {

// Prints errors and returns their exit code: 3 or 8.
int loadBenchFile(Session &session, const std::string &path, BenchFile &out);

// "3%", "0.5 %" or "3" -> 0.03. Prints the error and returns 2; `flag` names the option.
int parsePercent(Session &session, const char *flag, const std::string &text, double &out);

} // namespace moec

#endif
