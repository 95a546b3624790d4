// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A verb's work and its limits -> an exit code, whatever happens inside.
//
// The work runs in a child process. The parent waits for it, passes interrupts on, enforces --timeout, and removes the
// staging folder if the child could not, so that a crash, a kill or an interrupt leaves no incomplete output.

#ifndef MOEC_CODEGEN_CLI_SUPERVISOR_H
#define MOEC_CODEGEN_CLI_SUPERVISOR_H

#include "Session.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moec {

struct Limits {
  double timeoutSeconds = 0; // 0: none
  int64_t memoryMib = 0;     // of address space; 0: none
  std::string fault; // tests: "crash", "hang", "throw" or "memory" in the first stage, "hang@package" in that one
};

// Runs `work` and returns its exit code. A crash or an exception gives 7 and saves moec-repro-HASH with `command`; a
// limit gives 9, SIGINT and SIGTERM give 130. Call once, before any thread is started.
int supervise(Session &session, const Limits &limits, const std::vector<std::string> &command,
              const std::function<int()> &work);

// Called by the work; the parent still has the texts after a crash.
void enterStage(llvm::StringRef stage);           // for messages
void ownStagingFolder(llvm::StringRef path);      // removed by the parent unless released; "" releases
void keepsOutput(llvm::StringRef path);           // what an interrupted run has written stays there, and is of use
void keepForReproducer(llvm::StringRef specText); // cut at 64 KiB

} // namespace moec

#endif
