// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// vfork, exec, and the output in anonymous memory, so that nothing is left on disk however it ends.

#include "codegen/ToolRun.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sstream>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {

namespace {

constexpr size_t maxSaidBytes = size_t(16) << 20; // of a program's output, which may come from anywhere
constexpr size_t maxQuotedLines = 3;

class Descriptor {
public:
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0)
      close(number);
  }
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  int get() const { return number; }

private:
  int number;
};

// Shared with the child, which runs in this process's memory until it has become the program.
struct Start {
  const char *path;
  char *const *argv;
  int input, output;
  pid_t parent;
  volatile int number; // errno of what failed; written by the child
};

// Only calls that are safe between vfork and exec.
[[noreturn]] void becomeProgram(Start &start) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != start.parent) // it ended before the line above
    _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(start.input, 0) >= 0 && dup2(start.output, 1) >= 0 && dup2(start.output, 2) >= 0)
    execv(start.path, start.argv);
  start.number = errno;
  _exit(127);
}

std::string readAll(int fd) {
  std::string text;
  char block[16384];
  ssize_t n;
  for (off_t at = 0; text.size() < maxSaidBytes && (n = pread(fd, block, sizeof block, at)) > 0; at += n)
    text.append(block, size_t(n));
  return text;
}

Diagnostic cannotStart(const std::string &path, int number) {
  const char *code = number == EAGAIN || number == EMFILE || number == ENFILE ? "E-RESOURCE"
                     : number == ENOMEM                                       ? "E-MEMORY"
                                                                              : "E-TOOL";
  return Diagnostic::error(code, escaped(path) + " cannot be started: " + std::strerror(number));
}

// The first lines, each printable and of a length that a person reads.
std::string quoted(const std::string &said, const std::string &chatter) {
  std::istringstream lines(said);
  std::string line, out;
  for (size_t count = 0; count < maxQuotedLines && std::getline(lines, line);) {
    if (line.empty() || (!chatter.empty() && line.rfind(chatter, 0) == 0))
      continue;
    out += (count++ ? "; " : "") + escaped(line.substr(0, 300));
  }
  return out;
}

std::string endText(int status) {
  if (WIFEXITED(status))
    return "failed with code " + std::to_string(WEXITSTATUS(status));
  int number = WTERMSIG(status);
  return std::string("was ended by a signal (") + strsignal(number) + ")" +
         (number == SIGKILL ? ", most likely for lack of memory" : "");
}

} // namespace

Result<std::string> runTool(const std::string &path, const std::vector<std::string> &args, const std::string &chatter) {
  Descriptor input(open("/dev/null", O_RDONLY | O_CLOEXEC)), output(memfd_create("said", MFD_CLOEXEC));
  if (input.get() < 0 || output.get() < 0)
    return cannotStart(path, errno);
  std::vector<char *> argv;
  for (const std::string &word : args)
    argv.push_back(const_cast<char *>(word.c_str()));
  argv.push_back(nullptr);
  Start start = {path.c_str(), argv.data(), input.get(), output.get(), getpid(), 0};
  // This process may be large: a copy of its page tables would take longer than many programs run.
  pid_t child = vfork();
  if (child == 0)
    becomeProgram(start);
  if (child < 0)
    return cannotStart(path, errno);
  int status = 0;
  pid_t ended;
  while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR)
    ;
  if (ended != child)
    return Diagnostic::error("E-TOOL", escaped(path) + " was lost: " + std::strerror(errno));
  if (start.number)
    return cannotStart(path, start.number);
  std::string said = readAll(output.get());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return said;
  std::string lines = quoted(said, chatter);
  return Diagnostic::error("E-TOOL", escaped(path) + " " + endText(status) + (lines.empty() ? "" : ": " + lines));
}

} // namespace moec
