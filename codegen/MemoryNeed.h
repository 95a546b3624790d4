// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How much memory a run will use -> an error before it starts, where the machine or a limit has less. Without it the
// kernel's out-of-memory killer chooses a process, not necessarily this one.

#ifndef MOEC_CODEGEN_MEMORYNEED_H
#define MOEC_CODEGEN_MEMORYNEED_H

#include "dsl/text/Result.h"

#include <cstdint>
#include <string>

namespace moec {

// Bytes that processes of this machine can still get: MemAvailable, or what its control group leaves; 0: unknown.
int64_t availableMemory();

// `bytes` is a double because the sizes of a layer multiply beyond 64 bits. `what` is the subject: "verify". Errors:
// E-MEMORY if the limit of address space (--memory-limit, ulimit -v) is lower, E-MACHINE if the memory is.
Result<> checkMemory(double bytes, const std::string &what);

} // namespace moec

#endif
