// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A verb's work and its limits -> an exit code, whatever happens inside.
//
// The work runs in a child process. The parent waits for it, enforces --timeout, ends the child and the programs that
// it runs when it is interrupted itself, and removes the staging file or folder if the child could not, so that a
// crash, a kill or an interrupt leaves no incomplete output.

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
// limit of moec, of the caller or of the machine gives 9, SIGINT and SIGTERM give 130. Output that was complete before
// the end is named. Call once, before any thread is started.
int supervise(Session &session, const Limits &limits, const std::vector<std::string> &command,
              const std::function<int()> &work);

// Says that memory is used up, with none of its own, and ends the process with 9.
[[noreturn]] void endForMemory();

// Called by the work; the parent still has the texts after a crash.
void enterStage(llvm::StringRef stage); // for messages
// `staging` is removed by the parent unless released. A rename makes it `target`, which is then said to be complete.
// Call it again, or at first, when `staging` exists.
void ownStaging(llvm::StringRef staging, llvm::StringRef target);
void releaseStaging();
void keepsOutput(llvm::StringRef path);           // what an interrupted run has written stays there, and is of use
void keepForReproducer(llvm::StringRef specText); // cut at 64 KiB
void usesTemplates(llvm::StringRef folder);       // of the user, who may have made the mistake

} // namespace moec

#endif
