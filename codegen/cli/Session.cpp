// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An error in -> its text on stderr and an exit code out.

#include "Session.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
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

int readTextFile(Session &session, const std::string &path, const char *what, size_t limit, std::string &text) {
  auto cannot = [&](const std::string &why) {
    return fail(session, "E-FILE", "cannot read the " + std::string(what) + " " + quoteText(path, 256) + ": " + why);
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cannot(std::strerror(errno));
  text.clear();
  char block[16384];
  ssize_t n;
  while (text.size() <= limit && ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR)))
    if (n > 0)
      text.append(block, size_t(n));
  int number = n < 0 ? errno : 0;
  close(fd);
  if (number)
    return cannot(std::strerror(number));
  if (text.size() > limit)
    return fail(session, "E-LIMIT",
                std::string(what) + " " + quoteText(path, 256) + " is larger than " + std::to_string(limit) + " bytes");
  return ExitDone;
}

} // namespace moec
