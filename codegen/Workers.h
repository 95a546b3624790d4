// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that any number of threads can share -> done by as many as the system lets start.

#ifndef MOEC_CODEGEN_WORKERS_H
#define MOEC_CODEGEN_WORKERS_H

#include "llvm/ADT/STLFunctionalExtras.h"

namespace moec {

// Runs `work` on `count` threads, this one among them, and returns when all have returned. `work` takes its share of
// the whole by itself, for example from an atomic counter: where a limit of processes lets fewer threads start, these
// do everything.
void runOnThreads(unsigned count, llvm::function_ref<void()> work);

} // namespace moec

#endif
