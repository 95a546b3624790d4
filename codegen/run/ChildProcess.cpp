// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fork, wait, and the signal's name.

#include "codegen/run/ChildProcess.h"

#include "codegen/cli/ExitCode.h"
#include "codegen/run/RunVerbs.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {

int runInChild(const std::function<int()> &work) {
  std::cout.flush();
  std::signal(SIGCHLD, SIG_DFL); // whoever ignores it hands that on, and then no child can be waited for
  pid_t parent = getpid(), child = fork();
  if (child < 0)
    return say(Diagnostic::error(errno == ENOMEM ? "E-MEMORY" : "E-RESOURCE",
                                 std::string("cannot start a process: ") + std::strerror(errno),
                                 errno == EAGAIN ? "raise the limit of processes (ulimit -u, pids.max)" : ""));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // whoever ends the parent ends the child
    if (getppid() != parent)
      _exit(1);
    int exit = work();
    std::cout.flush();
    if (!std::cout)
      exit = exit ? exit : say(Diagnostic::error("E-WRITE", "cannot write to standard output"));
    _exit(exit);
  }
  // A terminal's interrupt reaches the child by itself.
  std::signal(SIGINT, SIG_IGN);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return say(Diagnostic::error("E-INTERNAL", std::string("waitpid: ") + std::strerror(errno)));
  if (WIFEXITED(status))
    return WEXITSTATUS(status);
  int signal = WTERMSIG(status);
  if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP)
    return ExitInterrupted;
  if (signal == SIGPIPE) // the reader of stdout left: there is nobody to tell
    return ExitFile;
  if (signal == SIGXCPU)
    return say(Diagnostic::error("E-RESOURCE", "stopped by the limit of CPU time", "raise ulimit -t"));
  if (signal == SIGKILL)
    return say(
        Diagnostic::error("E-MEMORY", "the process was killed, most likely for lack of memory", "use fewer --tokens"));
  return say(Diagnostic::error(
      "E-CRASH", std::string("the package's code, or moec-run, ended with signal ") + strsignal(signal),
      "moec-run inspect runs nothing of a package whose files are not those it was made with"));
}

} // namespace moec
