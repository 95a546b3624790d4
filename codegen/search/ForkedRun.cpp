// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fork, a clock on the call that runs, and the end of the child.

#include "codegen/search/ForkedRun.h"

#include "codegen/bench/Clocks.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {

namespace {
constexpr int tickMs = 50;      // between two looks at the call that runs
constexpr int noMemoryExit = 3; // of a child without memory
constexpr int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

WatchedCall *watchedByHandler = nullptr; // of the child
} // namespace

void *sharedPages(size_t bytes) {
  void *pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

void freeSharedPages(void *pages, size_t bytes) {
  if (pages)
    munmap(pages, bytes);
}

static std::string signalName(int number) {
  switch (number) {
  case SIGSEGV:
    return "SIGSEGV";
  case SIGBUS:
    return "SIGBUS";
  case SIGILL:
    return "SIGILL";
  case SIGFPE:
    return "SIGFPE";
  case SIGABRT:
    return "SIGABRT";
  case SIGTRAP:
    return "SIGTRAP";
  case SIGSYS:
    return "SIGSYS";
  default:
    return "signal " + std::to_string(number);
  }
}

std::string ForkedEnd::text() const {
  if (how == Crashed)
    return "ended with " + signalName(signal);
  if (how == Stuck)
    return "did not return within " + std::to_string(int64_t(seconds)) + " s";
  return "";
}

// Keeps the address, then lets the access fail again without a handler.
static void noteAddress(int number, siginfo_t *info, void *) {
  if (info->si_code == SEGV_ACCERR)
    watchedByHandler->address = uint64_t(reinterpret_cast<uintptr_t>(info->si_addr));
  signal(number, SIG_DFL);
}

[[noreturn]] static void runChild(pid_t parent, WatchedCall &watched, const std::function<void()> &work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) // it ended before the line above
    _exit(0);
  prctl(PR_SET_DUMPABLE, 0); // no core file
  std::set_new_handler([] { _exit(noMemoryExit); });
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number : faults)
    signal(number, SIG_DFL);
  // A handler needs a stack of its own: the crash may be an overflow of the other.
  static char handlerStack[1 << 16];
  stack_t stack = {};
  stack.ss_sp = handlerStack, stack.ss_size = sizeof handlerStack;
  sigaltstack(&stack, nullptr);
  watchedByHandler = &watched;
  struct sigaction action = {};
  action.sa_sigaction = noteAddress;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  work();
  _exit(0);
}

// Waits until the child ends, which closes the pipe, or until its call has taken too long. Returns how long that was;
// 0: the child ended by itself.
static double watch(int pipeEnd, const WatchedCall &watched) {
  uint64_t seen = 0;
  double waited = 0, last = wallSeconds();
  while (true) {
    pollfd ending = {pipeEnd, POLLIN, 0};
    if (poll(&ending, 1, tickMs) > 0)
      return 0;
    double now = wallSeconds();
    // A process that was stopped finds much more time passed than it waited for.
    double step = std::min(now - last, 4e-3 * tickMs);
    last = now;
    uint64_t number = watched.number;
    waited = number == seen && number % 2 ? waited + step : 0;
    seen = number;
    if (waited > watched.seconds)
      return waited;
  }
}

Result<ForkedEnd> runForked(WatchedCall &watched, const std::function<void()> &work) {
  int ends[2];
  auto noProcess = [] {
    return Diagnostic::error("E-MEMORY", std::string("cannot start a process: ") + std::strerror(errno));
  };
  if (pipe(ends) != 0)
    return noProcess();
  watched.number = 0;
  watched.address = 0;
  pid_t parent = getpid(), child = fork();
  if (child == 0)
    runChild(parent, watched, work);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    return noProcess();
  }
  ForkedEnd end;
  end.seconds = watch(ends[0], watched);
  close(ends[0]);
  if (end.seconds > 0)
    kill(child, SIGKILL);
  int status = 0;
  pid_t ended;
  while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR)
    ;
  if (ended != child) // whoever started this process ignores SIGCHLD
    return Diagnostic::error("E-INTERNAL", std::string("the process that measures was lost: ") + std::strerror(errno));
  if (end.seconds > 0) {
    end.how = ForkedEnd::Stuck;
    return end;
  }
  if (WIFEXITED(status)) {
    if (WEXITSTATUS(status) == noMemoryExit)
      return Diagnostic::error("E-MEMORY", "not enough memory for the process that measures");
    if (WEXITSTATUS(status) == 0)
      return end;
    return Diagnostic::error("E-INTERNAL",
                             "the process that measures ended with code " + std::to_string(WEXITSTATUS(status)));
  }
  end.how = ForkedEnd::Crashed;
  end.signal = WTERMSIG(status);
  if (std::find(std::begin(faults), std::end(faults), end.signal) != std::end(faults))
    return end;
  if (end.signal == SIGKILL)
    return Diagnostic::error("E-MEMORY", "the process that measures was killed, most likely for lack of memory");
  return Diagnostic::error("E-INTERRUPTED", "interrupted; the records keep what was measured");
}

} // namespace moec
