// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work in -> child process, its end, the parent's answer out.

#include "Supervisor.h"

#include "ProcessTree.h"

#include "codegen/emit/Manifest.h"

#include "dsl/text/Sha256.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/ErrorHandling.h"

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <new>
#include <sstream>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace moec {

namespace {
// Of a file or folder; a rename keeps it. Zeros: there was none.
struct FileIdentity {
  dev_t device;
  ino_t number;
  bool operator==(const FileIdentity &other) const { return device == other.device && number == other.number; }
};

// What parent and child share. Written by the child only; the parent reads it after the child's end.
struct Shared {
  char stage[64];
  char staging[4096];
  char target[4096];
  FileIdentity staged, before; // of `staging`, and of what was at `target` when it was named
  char kept[4096];
  char spec[65536];
  char templates[4096]; // --templates; empty: only moec's own
};
} // namespace

static Shared *shared = nullptr;
static const Limits *activeLimits = nullptr;

static void store(char *to, size_t size, llvm::StringRef text) {
  size_t n = std::min(size - 1, text.size());
  std::memcpy(to, text.data(), n);
  to[n] = 0;
}

void endForMemory() {
  static const char text[] = "moec: error[E-MEMORY]: out of memory\n"
                             "  hint: raise --memory-limit, or use a smaller layer or fewer --jobs\n";
  (void)!::write(2, text, sizeof text - 1);
  _exit(ExitLimit);
}

static void injectFault(llvm::StringRef text, llvm::StringRef stage) {
  auto [fault, where] = text.split('@');
  if (!where.empty() && where != stage)
    return;
  if (fault == "crash")
    std::abort();
  if (fault == "hang")
    while (true)
      pause();
  if (fault == "memory")
    endForMemory();
  if (fault == "throw")
    throw std::runtime_error("injected");
}

void enterStage(llvm::StringRef stage) {
  if (!shared)
    return;
  store(shared->stage, sizeof shared->stage, stage);
  if (activeLimits && !activeLimits->fault.empty())
    injectFault(activeLimits->fault, stage);
}

static FileIdentity identityOf(const char *path) {
  struct stat info;
  return lstat(path, &info) == 0 ? FileIdentity{info.st_dev, info.st_ino} : FileIdentity{};
}

void ownStaging(llvm::StringRef staging, llvm::StringRef target) {
  if (!shared)
    return;
  store(shared->target, sizeof shared->target, target.rtrim('/'));
  store(shared->staging, sizeof shared->staging, staging);
  shared->staged = identityOf(shared->staging);
  shared->before = identityOf(shared->target);
}

void releaseStaging() {
  if (shared)
    shared->staging[0] = 0;
}

// Whether the rename to `target` was done: it is what was staged, or, where that was not there yet when it was named,
// something new.
static bool isCommitted() {
  if (!shared->target[0])
    return false;
  FileIdentity now = identityOf(shared->target), none = {};
  return !(now == none) && (shared->staged == none ? !(now == shared->before) : now == shared->staged);
}

// "; "q" is complete": behind a message about what happened after the output was there. Else `otherwise`.
static std::string completeText(const std::string &otherwise = {}) {
  return isCommitted() ? "; " + quoteText(shared->target, 256) + " is complete" : otherwise;
}

// What the child could not remove. Where a file system cannot exchange two folders, a package is renamed to STAGING.old
// for a moment (codegen/emit/PackageFolder.cpp): it returns if the new one did not get there.
static void removeStaging() {
  if (!shared->staging[0])
    return;
  std::error_code ignored;
  std::string old = std::string(shared->staging) + ".old";
  if (std::filesystem::exists(std::filesystem::symlink_status(old, ignored))) {
    if (identityOf(shared->target) == FileIdentity{})
      (void)rename(old.c_str(), shared->target);
    else
      std::filesystem::remove_all(old, ignored);
  }
  std::filesystem::remove_all(shared->staging, ignored);
}

void keepsOutput(llvm::StringRef path) {
  if (shared)
    store(shared->kept, sizeof shared->kept, path);
}

void keepForReproducer(llvm::StringRef specText) {
  if (shared)
    store(shared->spec, sizeof shared->spec, specText);
}

void usesTemplates(llvm::StringRef folder) {
  if (shared)
    store(shared->templates, sizeof shared->templates, folder);
}

// MLIR uses memory for operations without a look at whether it got any. A fault while there is none is not a mistake of
// moec; every other one happens again without a handler.
static void judgeFault(int number) {
  constexpr size_t much = size_t(1) << 20; // more than an allocator asks for at once
  void *probe = mmap(nullptr, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED)
    endForMemory();
  munmap(probe, much);
  signal(number, SIG_DFL);
}

// A handler needs a stack of its own: the fault may be an overflow of the other.
static void watchFaults() {
  static char handlerStack[1 << 16];
  stack_t stack = {};
  stack.ss_sp = handlerStack;
  stack.ss_size = sizeof handlerStack;
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_handler = judgeFault;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
}

static int runChild(Session &session, const Limits &limits, const std::function<int()> &work) {
  watchFaults();
  if (limits.memoryMib > 0) {
    rlimit bytes;
    bytes.rlim_cur = bytes.rlim_max = rlim_t(limits.memoryMib) << 20;
    setrlimit(RLIMIT_AS, &bytes);
  }
  std::set_new_handler(endForMemory);
  llvm::install_bad_alloc_error_handler([](void *, const char *, bool) { endForMemory(); });
  try {
    return work();
  } catch (const std::bad_alloc &) {
    return fail(session, "E-MEMORY", "out of memory");
  } catch (const std::system_error &e) { // of a thread that cannot start: a limit of processes
    bool limit = e.code() == std::errc::resource_unavailable_try_again;
    return fail(session, limit ? "E-RESOURCE" : "E-INTERNAL",
                limit ? "cannot start a thread: " + e.code().message() : std::string("unexpected failure: ") + e.what(),
                limit ? "raise the limit of processes (ulimit -u, pids.max), or use fewer --threads and --jobs" : "");
  } catch (const std::exception &e) {
    fail(session, "E-INTERNAL", std::string("unexpected failure: ") + e.what());
    return ExitInternal;
  } catch (...) {
    return fail(session, "E-INTERNAL", "unexpected failure");
  }
}

// The folder's name follows from what is in it, so one failure gives one folder.
static std::string saveReproducer(const std::vector<std::string> &command, const std::string &ending) {
  std::string text = "moec " + moecVersion() + ", LLVM " LLVM_VERSION_STRING "\nstage: " + shared->stage +
                     "\nending: " + ending + "\ncommand:";
  for (const std::string &word : command)
    text += " " + quoteText(word, 256);
  text += "\n";
  std::string name = "moec-repro-" + hexText(sha256(text + shared->spec)).substr(0, 8);
  if (mkdir(name.c_str(), 0777) != 0 && errno != EEXIST)
    return {};
  std::ofstream(name + "/report.txt") << text;
  if (shared->spec[0])
    std::ofstream(name + "/spec.json") << shared->spec;
  return std::ifstream(name + "/report.txt") ? name : std::string();
}

static int internalError(Session &session, const std::vector<std::string> &command, const std::string &ending) {
  std::string folder = saveReproducer(command, ending);
  std::string stage = shared->stage[0] ? std::string("stage \"") + shared->stage + "\"" : std::string("start-up");
  // Kernels and functions of the user's own run in this process, or make code that does.
  bool own = shared->templates[0];
  return fail(session, "E-INTERNAL",
              (own ? "this is a mistake in moec, or in a template of " + quoteText(shared->templates, 256) + ": "
                   : "this is a mistake in moec: ") +
                  stage + " " + ending,
              (own ? "if it runs without --templates, look there first; otherwise " : "") +
                  (folder.empty()
                       ? "the reproducer could not be saved in this folder"
                       : "please report it with the folder " + folder + ", which holds no tensor names or weights"));
}

// How the child ended, or what the parent decided while it ran.
enum class Ending { Child, Timeout, Interrupted, Lost };

// Signals that a caller ignores stay ignored: `nohup moec tune` outlives its terminal.
static sigset_t awaitedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGCHLD, SIGINT, SIGTERM})
    sigaddset(&set, number);
  struct sigaction action;
  if (sigaction(SIGHUP, nullptr, &action) != 0 || action.sa_handler != SIG_IGN)
    sigaddset(&set, SIGHUP);
  return set;
}

static pid_t waitRetrying(pid_t child, int *status, int options, rusage *used) {
  pid_t ended;
  while ((ended = wait4(child, status, options, used)) < 0 && errno == EINTR)
    ;
  return ended;
}

static Ending waitForChild(pid_t child, const Limits &limits, const sigset_t &awaited, int &status, rusage &used) {
  timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (true) {
    if (pid_t ended = waitRetrying(child, &status, WNOHANG, &used))
      return ended == child ? Ending::Child : Ending::Lost;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double left =
        limits.timeoutSeconds - double(now.tv_sec - start.tv_sec) - 1e-9 * double(now.tv_nsec - start.tv_nsec);
    Ending decided = Ending::Child;
    if (limits.timeoutSeconds > 0 && left <= 0) {
      decided = Ending::Timeout;
    } else {
      double slice = limits.timeoutSeconds > 0 ? std::min(left, 1.0) : 1.0;
      timespec wait = {time_t(slice), long((slice - std::floor(slice)) * 1e9)};
      int number = sigtimedwait(&awaited, nullptr, &wait);
      if (number == SIGINT || number == SIGTERM || number == SIGHUP)
        decided = Ending::Interrupted;
    }
    if (decided != Ending::Child) {
      kill(child, SIGKILL);
      waitRetrying(child, &status, 0, &used);
      return decided;
    }
  }
}

// Whether the process was ended by its limit of CPU time: the soft one has a signal of its own, the hard one kills.
static bool reachedCpuLimit(int number, const rusage &used) {
  rlimit limit;
  if (number == SIGXCPU)
    return true;
  if (number != SIGKILL || getrlimit(RLIMIT_CPU, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
    return false;
  return double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
             1e-6 * double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) >=
         double(limit.rlim_max) - 0.5;
}

// As it was given: "0.2", "90".
static std::string secondsText(double seconds) {
  std::ostringstream text;
  text << std::setprecision(12) << seconds;
  return text.str();
}

static int answer(Session &session, const Limits &limits, const std::vector<std::string> &command, Ending ending,
                  int status, const rusage &used) {
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (ending == Ending::Lost)
    return fail(session, "E-RESOURCE", "the compiling process was lost" + completeText());
  if (ending == Ending::Timeout)
    return fail(session, "E-TIMEOUT",
                "stopped after " + secondsText(limits.timeoutSeconds) + " s in stage \"" + shared->stage + "\"" +
                    completeText(),
                isCommitted() ? "" : "raise --timeout");
  if (ending == Ending::Interrupted || number == SIGINT || number == SIGTERM || number == SIGHUP)
    return fail(session, "E-INTERRUPTED",
                shared->kept[0] ? "interrupted; " + escaped(shared->kept) + " keeps what was measured"
                                : "interrupted" + completeText("; no output was left behind"));
  if (number == SIGPIPE) // the reader of stdout left: there is nobody to tell, unless there is more than it would read
    return isCommitted() ? fail(session, "E-WRITE", "standard output was closed" + completeText()) : int(ExitFile);
  if (reachedCpuLimit(number, used))
    return fail(session, "E-RESOURCE", "stopped by the limit of CPU time" + completeText(), "raise ulimit -t");
  if (number == SIGKILL)
    return fail(session, "E-MEMORY",
                "the compiling process was killed, most likely for lack of memory" + completeText());
  if (number)
    return internalError(session, command, std::string("ended with signal ") + strsignal(number));
  int code = WEXITSTATUS(status);
  return code == ExitInternal ? internalError(session, command, "failed") : code;
}

// A result that did not reach its reader is a failure, but not of the work.
static int checkOutput(Session &session, int code) {
  auto &out = static_cast<llvm::raw_fd_ostream &>(session.out);
  if (!out.has_error())
    return code;
  std::string why = out.error().message();
  out.clear_error();
  if (code != ExitDone)
    return code;
  return fail(session, "E-WRITE", "cannot write to standard output: " + why + completeText());
}

[[noreturn]] static void becomeChild(Session &session, const Limits &limits, const sigset_t &mask, pid_t parent,
                                     const std::function<int()> &work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) // it ended before the line above
    _exit(ExitInterrupted);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  signal(SIGXFSZ, SIG_IGN); // a file too large is then a failed write like a full disk
  llvm::install_fatal_error_handler([](void *, const char *reason, bool) {
    std::fprintf(stderr, "%s\n", reason);
    std::abort(); // LLVM would exit with 1, which here means a failed check
  });
  int code = runChild(session, limits, work);
  session.out.flush();
  session.err.flush();
  _exit(checkOutput(session, code));
}

int supervise(Session &session, const Limits &limits, const std::vector<std::string> &command,
              const std::function<int()> &work) {
  void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(session, "E-MEMORY", "out of memory");
  shared = static_cast<Shared *>(memory);
  activeLimits = &limits;
  signal(SIGCHLD, SIG_DFL); // whoever ignores it hands that on, and then no child can be waited for
  sigset_t awaited = awaitedSignals(), before;
  sigprocmask(SIG_BLOCK, &awaited, &before);
  session.out.flush();
  session.err.flush();
  ProcessTree tree;
  pid_t parent = getpid(), child = fork();
  if (child < 0)
    return fail(session, errno == ENOMEM ? "E-MEMORY" : "E-RESOURCE",
                std::string("cannot start a process: ") + std::strerror(errno),
                errno == EAGAIN ? "raise the limit of processes (ulimit -u, pids.max)" : "");
  if (child == 0)
    becomeChild(session, limits, before, parent, work);
  int status = 0;
  rusage used = {};
  Ending ending = waitForChild(child, limits, awaited, status, used);
  tree.endOrphans();
  removeStaging();
  return answer(session, limits, command, ending, status, used);
}

} // namespace moec
