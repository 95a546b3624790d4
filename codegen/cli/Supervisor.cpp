// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work in -> child process, its end, the parent's answer out.

#include "Supervisor.h"

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
#include <unistd.h>

namespace moec {

namespace {
// What parent and child share. Written by the child only; the parent reads it after the child's end.
struct Shared {
  char stage[64];
  char staging[4096];
  char kept[4096];
  char spec[65536];
};
} // namespace

static Shared *shared = nullptr;
static const Limits *activeLimits = nullptr;

static void store(char *to, size_t size, llvm::StringRef text) {
  size_t n = std::min(size - 1, text.size());
  std::memcpy(to, text.data(), n);
  to[n] = 0;
}

[[noreturn]] static void endForMemory() {
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

void ownStagingFolder(llvm::StringRef path) {
  if (shared)
    store(shared->staging, sizeof shared->staging, path);
}

void keepsOutput(llvm::StringRef path) {
  if (shared)
    store(shared->kept, sizeof shared->kept, path);
}

void keepForReproducer(llvm::StringRef specText) {
  if (shared)
    store(shared->spec, sizeof shared->spec, specText);
}

static int runChild(Session &session, const Limits &limits, const std::function<int()> &work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
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
  return fail(session, "E-INTERNAL", "this is a mistake in moec: " + stage + " " + ending,
              folder.empty()
                  ? "the reproducer could not be saved in this folder"
                  : "please report it with the folder " + folder + ", which holds no tensor names or weights");
}

// How the child ended, or what the parent decided while it ran.
enum class Ending { Child, Timeout, Interrupted };

static Ending waitForChild(pid_t child, const Limits &limits, int &status) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP})
    sigaddset(&set, number);
  timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (true) {
    if (waitpid(child, &status, WNOHANG) == child)
      return Ending::Child;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double left =
        limits.timeoutSeconds - double(now.tv_sec - start.tv_sec) - 1e-9 * double(now.tv_nsec - start.tv_nsec);
    Ending decided = Ending::Child;
    if (limits.timeoutSeconds > 0 && left <= 0) {
      decided = Ending::Timeout;
    } else {
      double slice = limits.timeoutSeconds > 0 ? std::min(left, 1.0) : 1.0;
      timespec wait = {time_t(slice), long((slice - std::floor(slice)) * 1e9)};
      int number = sigtimedwait(&set, nullptr, &wait);
      if (number == SIGINT || number == SIGTERM || number == SIGHUP)
        decided = Ending::Interrupted;
    }
    if (decided != Ending::Child) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return decided;
    }
  }
}

// As it was given: "0.2", "90".
static std::string secondsText(double seconds) {
  std::ostringstream text;
  text << std::setprecision(12) << seconds;
  return text.str();
}

static int answer(Session &session, const Limits &limits, const std::vector<std::string> &command, Ending ending,
                  int status) {
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (ending == Ending::Timeout)
    return fail(session, "E-TIMEOUT",
                "stopped after " + secondsText(limits.timeoutSeconds) + " s in stage \"" + shared->stage + "\"",
                "raise --timeout");
  if (ending == Ending::Interrupted || number == SIGINT || number == SIGTERM || number == SIGHUP)
    return fail(session, "E-INTERRUPTED",
                shared->kept[0] ? std::string("interrupted; ") + shared->kept + " keeps what was measured"
                                : "interrupted; no output was left behind");
  if (number == SIGPIPE)
    return ExitFile; // the reader of stdout left; there is nobody to tell
  if (number == SIGKILL)
    return fail(session, "E-MEMORY", "the compiling process was killed, most likely for lack of memory");
  if (number)
    return internalError(session, command, std::string("ended with signal ") + strsignal(number));
  int code = WEXITSTATUS(status);
  return code == ExitInternal ? internalError(session, command, "failed") : code;
}

int supervise(Session &session, const Limits &limits, const std::vector<std::string> &command,
              const std::function<int()> &work) {
  void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(session, "E-MEMORY", "out of memory");
  shared = static_cast<Shared *>(memory);
  activeLimits = &limits;
  sigset_t blocked, before;
  sigemptyset(&blocked);
  for (int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP})
    sigaddset(&blocked, number);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  session.out.flush();
  session.err.flush();
  pid_t child = fork();
  if (child < 0)
    return fail(session, "E-MEMORY", std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    signal(SIGXFSZ, SIG_IGN); // a file too large is then a failed write like a full disk
    llvm::install_fatal_error_handler([](void *, const char *reason, bool) {
      std::fprintf(stderr, "%s\n", reason);
      std::abort(); // LLVM would exit with 1, which here means a failed check
    });
    int code = runChild(session, limits, work);
    session.out.flush();
    session.err.flush();
    // A result that did not reach its reader is a failure.
    auto &out = static_cast<llvm::raw_fd_ostream &>(session.out);
    if (out.has_error()) {
      std::string why = out.error().message();
      out.clear_error();
      if (code == ExitDone)
        code = fail(session, "E-WRITE", "cannot write to standard output: " + why);
    }
    _exit(code);
  }
  int status = 0;
  Ending ending = waitForChild(child, limits, status);
  if (shared->staging[0]) {
    std::error_code ignored;
    std::filesystem::remove_all(shared->staging, ignored);
  }
  return answer(session, limits, command, ending, status);
}

} // namespace moec
