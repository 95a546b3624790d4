// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that runs a package's code -> its exit code, also if that code crashes.

#ifndef MOEC_CODEGEN_RUN_CHILDPROCESS_H
#define MOEC_CODEGEN_RUN_CHILDPROCESS_H

#include <functional>

namespace moec {

// Runs `work` in a child process and returns what it returns. If the child ends with a signal, the reason is said and
// its exit code returned: E-CRASH, E-RESOURCE (CPU time) or E-MEMORY (killed). An interrupt gives 130, a reader of
// stdout that left 8. Call before any thread is started.
int runInChild(const std::function<int()> &work);

} // namespace moec

#endif
