// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An error in -> its text on stderr and an exit code out.

#include "Session.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moec {

static void say(Session &session, Severity severity, std::string code, std::string message, std::string hint) {
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.code = std::move(code);
  diagnostic.file = "moec";
  diagnostic.message = std::move(message);
  diagnostic.hint = std::move(hint);
  session.err << render(diagnostic, SourceText(), session.color);
  session.err.flush();
}

int fail(Session &session, std::string code, std::string message, std::string hint) {
  ExitCode exit = exitCodeOf(code);
  say(session, Severity::Error, std::move(code), std::move(message), std::move(hint));
  return exit;
}

int fail(Session &session, const Diagnostic &error) {
  return fail(session, error.code, error.placedMessage(), error.hint);
}

void warn(Session &session, std::string code, std::string message, std::string hint) {
  say(session, Severity::Warning, std::move(code), std::move(message), std::move(hint));
}

// The first bytes of a file, at most `limit` and some more; errno of what failed. A pipe is read as far as its writers
// go, but one that nobody writes into would never end: ENXIO.
static int readBytes(int fd, size_t limit, std::string &text) {
  struct stat info;
  bool pipe = fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode);
  char block[16384];
  while (text.size() <= limit) {
    ssize_t n = read(fd, block, sizeof block);
    if (n > 0)
      text.append(block, size_t(n));
    else if (n == 0)
      return pipe && text.empty() ? ENXIO : 0;
    else if (errno == EAGAIN) {
      pollfd waiting = {fd, POLLIN, 0};
      poll(&waiting, 1, -1);
    } else if (errno != EINTR)
      return errno;
  }
  return 0;
}

int readTextFile(Session &session, const std::string &path, const char *what, size_t limit, std::string &text) {
  auto cannot = [&](int number) {
    std::string why = number == ENXIO ? "it is a pipe or device that holds nothing" : std::strerror(number);
    return fail(session, "E-FILE", "cannot read the " + std::string(what) + " " + quoteText(path, 256) + ": " + why);
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return cannot(errno);
  text.clear();
  int number = readBytes(fd, limit, text);
  close(fd);
  if (number)
    return cannot(number);
  if (text.size() > limit)
    return fail(session, "E-LIMIT",
                std::string(what) + " " + quoteText(path, 256) + " is larger than " + std::to_string(limit) + " bytes");
  return ExitDone;
}

} // namespace moec
