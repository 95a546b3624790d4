// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that runs a package's code -> its exit code, also if that code crashes.

#ifndef MOEC_CODEGEN_RUN_CHILDPROCESS_H
#define MOEC_CODEGEN_RUN_CHILDPROCESS_H

#include <functional>

namespace moec {

// Runs `work` in a child process and returns what it returns. If the child ends with a signal: E-CRASH is said and its
// exit code returned, after SIGINT or SIGTERM 130. Call before any thread is started.
int runInChild(const std::function<int()> &work);

} // namespace moec

#endif
