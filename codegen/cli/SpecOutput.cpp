// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec's text -> a new file.

#include "SpecOutput.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace moec {

int writeSpecFile(Session &session, const std::string &path, const std::string &text, bool force) {
  int mode = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (force ? O_TRUNC : O_EXCL);
  int fd = open(path.c_str(), mode, 0666);
  if (fd < 0 && errno == EEXIST)
    return fail(session, "E-EXISTS", "file " + quoteText(path, 256) + " exists",
                "choose another file with -o, or pass --force to replace it");
  bool ok = fd >= 0 && write(fd, text.data(), text.size()) == ssize_t(text.size());
  int number = errno;
  if (fd >= 0 && close(fd) != 0 && ok) {
    ok = false;
    number = errno;
  }
  if (!ok)
    return fail(session, "E-WRITE", "cannot write " + quoteText(path, 256) + ": " + std::strerror(number));
  return ExitDone;
}

} // namespace moec
