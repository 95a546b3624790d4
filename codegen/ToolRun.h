// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program and its arguments -> what it said, or why it did not do its work.
//
// The program is run with an argument array, never through a shell, and ends together with the thread that waits for
// it: a compilation that is killed leaves no assembler or linker behind.

#ifndef MOEC_CODEGEN_TOOLRUN_H
#define MOEC_CODEGEN_TOOLRUN_H

#include "dsl/text/Result.h"

#include <string>
#include <vector>

namespace moec {

// Runs `path`, whose argv is `args` (args[0] is its name), without input. Returns its stdout and stderr, in order, if
// it exits with 0. Errors: E-TOOL says how it ended and quotes the first lines of what it said that do not begin with
// `chatter` (empty: all count); E-MEMORY or E-RESOURCE if this process cannot start another one.
Result<std::string> runTool(const std::string &path, const std::vector<std::string> &args,
                            const std::string &chatter = {});

} // namespace moec

#endif
