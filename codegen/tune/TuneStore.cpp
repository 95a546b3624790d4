// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Appending under a lock, reading what there is, replacing by rename.
//
// A replaced file is another inode, so whoever has waited for the lock of a file checks that the path still names it.

#include "codegen/tune/TuneStore.h"

#include "codegen/StagingPath.h"

#include "llvm/ADT/ScopeExit.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

using namespace llvm;

namespace moec {

static Diagnostic cannot(const char *code, const char *verb, const std::string &path, int number) {
  return Diagnostic::error(code, std::string("cannot ") + verb + " the tuning file " + quoteText(path, 256) + ": " +
                                     std::strerror(number));
}

static int openRetrying(const std::string &path, int flags) {
  int fd;
  do
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static int lockRetrying(int fd, int mode) {
  int failed;
  do
    failed = flock(fd, mode);
  while (failed && errno == EINTR);
  return failed;
}

static bool stillNames(const std::string &path, int fd) {
  struct stat named, opened;
  return !stat(path.c_str(), &named) && !fstat(fd, &opened) && named.st_ino == opened.st_ino &&
         named.st_dev == opened.st_dev;
}

// Makes a new name in the folder of `path` survive a power failure. Some file systems cannot; then nothing is lost that
// they could keep.
static void syncFolder(const std::string &path) {
  size_t slash = path.rfind('/');
  int fd = openRetrying(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  if (fd < 0)
    return;
  fsync(fd);
  close(fd);
}

// Locks `fd`; opens `path` again as long as it names another file than `fd`. False: errno says why; fd may be -1.
static bool lockNamed(const std::string &path, int flags, int mode, int &fd) {
  for (;;) {
    if (fd < 0 && (fd = openRetrying(path, flags)) < 0)
      return false;
    if (lockRetrying(fd, mode))
      return false;
    if (stillNames(path, fd))
      return true;
    close(fd);
    fd = -1;
  }
}

// ---- appending ---------------------------------------------------------------------------------------------------

static constexpr int appendFlags = O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK;

static bool isRegular(int fd) {
  struct stat facts;
  return !fstat(fd, &facts) && S_ISREG(facts.st_mode);
}

Result<TuneStore> TuneStore::open(std::string path) {
  bool exists = !access(path.c_str(), F_OK);
  int fd = openRetrying(path, appendFlags);
  if (fd < 0)
    return cannot("E-WRITE", "write", path, errno);
  if (!isRegular(fd)) {
    close(fd);
    return Diagnostic::error("E-WRITE", "cannot write the tuning file " + quoteText(path, 256) + ": it is not a file");
  }
  if (!exists)
    syncFolder(path);
  return TuneStore(std::move(path), fd);
}

TuneStore::TuneStore(TuneStore &&other) noexcept : path(std::move(other.path)), fd(std::exchange(other.fd, -1)) {}

TuneStore &TuneStore::operator=(TuneStore &&other) noexcept {
  std::swap(path, other.path);
  std::swap(fd, other.fd);
  return *this;
}

TuneStore::~TuneStore() {
  if (fd >= 0)
    close(fd);
}

Result<> TuneStore::append(const TuneRecord &record) {
  std::string line = printTuneRecord(record);
  if (Result<TuneRecord> back = parseTuneRecord(line); !back)
    return Diagnostic::error("E-INTERNAL", "a tuning record would not be read back: " + back.error().message);
  if (!lockNamed(path, appendFlags, LOCK_EX, fd))
    return cannot("E-WRITE", "lock", path, errno);
  scope_exit unlock([&] { flock(fd, LOCK_UN); });
  return appendLocked(line + "\n");
}

Result<> TuneStore::appendLocked(const std::string &line) {
  struct stat facts;
  if (fstat(fd, &facts))
    return cannot("E-WRITE", "write", path, errno);
  char last = '\n';
  if (facts.st_size > 0 && pread(fd, &last, 1, facts.st_size - 1) != 1)
    return cannot("E-WRITE", "read", path, errno);
  std::string bytes = last == '\n' ? line : "\n" + line;
  ssize_t written;
  do
    written = write(fd, bytes.data(), bytes.size());
  while (written < 0 && errno == EINTR);
  if (written != ssize_t(bytes.size())) {
    int number = written < 0 ? errno : ENOSPC;
    // Part of a line is no record; without it the file is as before.
    if (written > 0 && ftruncate(fd, facts.st_size))
      number = errno;
    return cannot("E-WRITE", "write", path, number);
  }
  if (fsync(fd))
    return cannot("E-WRITE", "write", path, errno);
  return {};
}

// ---- reading -----------------------------------------------------------------------------------------------------

static Result<std::string> readOpened(const std::string &path, int fd) {
  std::string text;
  std::string block(1 << 16, '\0');
  for (;;) {
    ssize_t count = pread(fd, block.data(), block.size(), off_t(text.size()));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return cannot("E-FILE", "read", path, errno);
    if (count == 0)
      return text;
    text.append(block.data(), size_t(count));
    if (text.size() > maxTuneFileBytes)
      return Diagnostic::error("E-LIMIT",
                               "the tuning file " + quoteText(path, 256) + " is larger than " +
                                   std::to_string(maxTuneFileBytes) + " bytes",
                               "moec tunedb prune drops what is out of date");
  }
}

Result<std::string> readTuneBytes(const std::string &path) {
  int fd = openRetrying(path, O_RDONLY | O_NONBLOCK);
  scope_exit closing([&] {
    if (fd >= 0)
      close(fd);
  });
  if (fd < 0)
    return cannot("E-FILE", "read", path, errno);
  if (!isRegular(fd))
    return Diagnostic::error("E-FILE", "cannot read the tuning file " + quoteText(path, 256) + ": it is not a file");
  // A file system without locks has no writers that keep them either.
  if (!lockNamed(path, O_RDONLY | O_NONBLOCK, LOCK_SH, fd) && fd < 0)
    return cannot("E-FILE", "read", path, errno);
  return readOpened(path, fd);
}

void forEachTuneLine(StringRef text, function_ref<void(size_t, StringRef)> visit) {
  for (size_t number = 1; !text.empty(); ++number) {
    auto [line, rest] = text.split('\n');
    if (!line.trim(" \t\r").empty())
      visit(number, line);
    text = rest;
  }
}

TuneFile readTuneText(StringRef text, const std::string &name) {
  TuneFile file;
  file.path = name;
  bool endsWithin = !text.empty() && text.back() != '\n';
  size_t lastLine = text.count('\n') + 1;
  forEachTuneLine(text, [&](size_t number, StringRef line) {
    Result<TuneRecord> record = parseTuneRecord(line);
    if (record) {
      file.records.push_back({std::move(*record), number});
      return;
    }
    ++file.skippedLines;
    if (file.complaints.size() == maxTuneComplaints)
      return;
    Diagnostic complaint = record.takeError();
    complaint.severity = Severity::Warning;
    complaint.code = "W-TUNE";
    complaint.file = name;
    complaint.line = number;
    if (endsWithin && number == lastLine)
      complaint.message = "the last line is incomplete: " + complaint.message;
    file.complaints.push_back(std::move(complaint));
  });
  return file;
}

Result<TuneFile> loadTuneFile(const std::string &path) {
  Result<std::string> text = readTuneBytes(path);
  if (!text)
    return text.takeError();
  return readTuneText(*text, path);
}

// ---- replacing ---------------------------------------------------------------------------------------------------

static Result<> writeWhole(const std::string &path, const std::string &bytes, mode_t mode) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return cannot("E-WRITE", "write", path, errno);
  size_t done = 0;
  int number = fchmod(fd, mode) ? errno : 0;
  while (!number && done < bytes.size()) {
    ssize_t count = write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno != EINTR)
      number = errno;
    done += count > 0 ? size_t(count) : 0;
  }
  if (!number && fsync(fd))
    number = errno;
  if (close(fd) && !number)
    number = errno;
  if (!number)
    return {};
  unlink(path.c_str());
  return cannot("E-WRITE", "write", path, number);
}

Result<> replaceTuneFile(const std::string &path, function_ref<Result<std::string>(const std::string &)> change,
                         std::string staging) {
  if (staging.empty())
    staging = stagingPathOf(path);
  struct stat named;
  if (!lstat(path.c_str(), &named) && !S_ISREG(named.st_mode))
    return Diagnostic::error("E-WRITE", "cannot replace the tuning file " + quoteText(path, 256) + ": it is " +
                                            (S_ISLNK(named.st_mode) ? "a symbolic link" : "not a file"));
  int fd = -1;
  scope_exit closing([&] {
    if (fd >= 0)
      close(fd);
  });
  bool exists = lockNamed(path, O_RDONLY | O_NONBLOCK, LOCK_EX, fd);
  if (!exists && (fd >= 0 || errno != ENOENT))
    return cannot("E-WRITE", "lock", path, errno);
  Result<std::string> before = exists ? readOpened(path, fd) : Result<std::string>(std::string());
  if (!before)
    return before.takeError();
  Result<std::string> after = change(*before);
  if (!after)
    return after.takeError();
  if (exists && *after == *before)
    return {};
  mode_t mask = umask(0);
  umask(mask);
  mode_t mode = exists && !fstat(fd, &named) ? named.st_mode & 07777 : 0666 & ~mask;
  if (Result<> written = writeWhole(staging, *after, mode); !written)
    return written;
  // A file that appeared in the meantime is somebody else's: link() refuses to replace it, rename() would not.
  if (exists ? std::rename(staging.c_str(), path.c_str()) : link(staging.c_str(), path.c_str())) {
    int number = errno;
    unlink(staging.c_str());
    return cannot("E-WRITE", "replace", path, number);
  }
  if (!exists)
    unlink(staging.c_str());
  syncFolder(path);
  return {};
}

} // namespace moec
