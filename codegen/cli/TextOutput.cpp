// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A text -> a staging file beside the file, which a rename turns into the file.

#include "TextOutput.h"

#include "Supervisor.h"

#include "codegen/StagingPath.h"

#include "dsl/text/SourceText.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moec {

// errno of what failed; 0: all is written.
static int writeAll(int fd, const std::string &text, bool sync) {
  int number = fd < 0 ? errno : 0;
  for (size_t done = 0; !number && done < text.size();) {
    ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n > 0)
      done += size_t(n);
    else if (n == 0 || errno != EINTR)
      number = n == 0 ? ENOSPC : errno; // a write of nothing sets no errno
  }
  if (!number && sync && fsync(fd) != 0)
    number = errno;
  if (fd >= 0 && close(fd) != 0 && !number)
    number = errno;
  return number;
}

int commitStagedFile(const std::string &staging, const std::string &path, bool force) {
  int number = 0;
  if (force && rename(staging.c_str(), path.c_str()) != 0)
    number = errno;
  if (!force && link(staging.c_str(), path.c_str()) != 0) {
    number = errno;
    if (number == EPERM || number == ENOSYS || number == EOPNOTSUPP) // no links in this file system
      number = rename(staging.c_str(), path.c_str()) == 0 ? 0 : errno;
  }
  unlink(staging.c_str());
  return number;
}

// errno of what failed. Without `force` a file that appears meanwhile stays, too.
static int writeBeside(const std::string &path, const std::string &text, bool force) {
  std::string staging = stagingPathOf(path);
  int fd = open(staging.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_EXCL | O_NOFOLLOW, 0666);
  if (fd < 0)
    return errno;
  ownStaging(staging, path);
  int number = writeAll(fd, text, /*sync=*/true);
  if (!number)
    number = commitStagedFile(staging, path, force);
  unlink(staging.c_str());
  releaseStaging();
  return number;
}

int failedToWrite(Session &session, const std::string &path, int number) {
  if (number == EEXIST)
    return fail(session, "E-EXISTS", "file " + quoteText(path, 256) + " exists",
                "choose another file with -o, or pass --force to replace it");
  return fail(session, "E-WRITE", "cannot write " + quoteText(path, 256) + ": " + std::strerror(number));
}

int writeTextFile(Session &session, const std::string &path, const std::string &text, bool force) {
  struct stat info;
  bool exists = lstat(path.c_str(), &info) == 0;
  int number = 0;
  if (exists && !force)
    number = EEXIST;
  else if (exists && !S_ISREG(info.st_mode))
    number = writeAll(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW), text, /*sync=*/false);
  else
    number = writeBeside(path, text, force);
  if (number)
    return failedToWrite(session, path, number);
  return ExitDone;
}

} // namespace moec
