// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Package files in -> one synced rename out.

#include "PackageFolder.h"

#include "codegen/StagingPath.h"

#include "codegen/package/PackageManifest.h"

#include "dsl/text/SourceText.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace moec {

static Diagnostic cannot(const char *what, const std::string &path, int number) {
  return Diagnostic::error("E-WRITE",
                           std::string("cannot ") + what + " " + quoteText(path, 256) + ": " + std::strerror(number),
                           number == ENOSPC ? "free some space or choose another folder with -o" : "");
}

// A package made by moec has share/NAME/manifest.json; a tree without files holds nothing that could be lost.
static bool mayBeReplaced(const fs::path &dir) {
  std::error_code code;
  bool anyFile = false;
  for (fs::recursive_directory_iterator it(dir, code), end; !code && it != end; it.increment(code))
    anyFile |= !it->is_directory(code) || it->is_symlink(code);
  if (code)
    return false;
  if (!anyFile)
    return true;
  for (fs::directory_iterator it(dir / "share", code), end; !code && it != end; it.increment(code))
    if (fs::is_regular_file(it->path() / "manifest.json", code) && fs::is_directory(dir / "lib", code))
      return true;
  return false;
}

// A file in a package's folder that none of its manifests lists, so that somebody else put it there; empty: there is
// none, or a manifest cannot be read.
static std::string foreignFile(const fs::path &dir) {
  std::error_code code;
  std::set<std::string> known;
  for (fs::directory_iterator it(dir / "share", code), end; !code && it != end; it.increment(code)) {
    fs::path path = it->path() / "manifest.json";
    if (!fs::is_regular_file(path, code))
      continue;
    uintmax_t bytes = fs::file_size(path, code);
    std::ifstream file(path, std::ios::binary);
    std::string text(code || bytes > maxManifestBytes ? 0 : size_t(bytes), '\0');
    Result<PackageManifest> manifest = parseManifest(file.read(text.data(), std::streamsize(text.size())) ? text : "");
    if (!manifest)
      return "";
    for (const auto &[name, hash] : manifest->files)
      known.insert(name);
    known.insert(path.lexically_relative(dir).string());
  }
  for (fs::recursive_directory_iterator it(dir, code), end; !code && it != end; it.increment(code))
    if (!it->is_directory(code) || it->is_symlink(code))
      if (std::string name = it->path().lexically_relative(dir).string(); !known.count(name))
        return name;
  return "";
}

// The nearest folder that exists takes the new ones.
static Result<> checkParent(const std::string &dir) {
  fs::path parent = fs::path(dir).parent_path();
  struct stat info;
  while (!parent.empty() && lstat(parent.c_str(), &info) != 0 && errno == ENOENT)
    parent = parent.parent_path();
  std::string folder = parent.empty() ? "." : parent.string();
  if (stat(folder.c_str(), &info) == 0 && !S_ISDIR(info.st_mode))
    return cannot("make a folder in", folder, ENOTDIR);
  return access(folder.c_str(), W_OK | X_OK) == 0 ? Result<>() : cannot("make a folder in", folder, errno);
}

// Longest path of a file inside a package folder: lib/cmake/NAME/NAMEConfig.cmake of a name of 63 bytes, and the
// suffix of the staging folder.
static constexpr size_t insideBytes = 192;

Result<> PackageFolder::check(llvm::StringRef path, Existing existing) {
  std::string dir = path.rtrim('/').str();
  if (dir.empty())
    dir = path.str();
  if (dir.size() + insideBytes > PATH_MAX)
    return cannot("make folder", dir, ENAMETOOLONG);
  struct stat info;
  if (lstat(dir.c_str(), &info) != 0)
    return errno == ENOENT ? checkParent(dir) : cannot("make folder", dir, errno);
  if (S_ISLNK(info.st_mode))
    return Diagnostic::error("E-SYMLINK",
                             quoteText(dir, 256) + " is a symbolic link; a package folder is never written through one",
                             "name the folder it points to, or remove the link");
  if (!S_ISDIR(info.st_mode))
    return Diagnostic::error("E-EXISTS", quoteText(dir, 256) + " exists and is not a folder",
                             "choose another folder with -o");
  if (existing == Existing::Refuse)
    return Diagnostic::error("E-EXISTS", "folder " + quoteText(dir, 256) + " exists",
                             "choose another folder with -o, or pass --force to replace a package");
  if (!mayBeReplaced(dir))
    return Diagnostic::error("E-EXISTS",
                             "folder " + quoteText(dir, 256) + " holds files and is not a package made by moec",
                             "--force replaces packages only; choose another folder with -o");
  if (std::string name = foreignFile(dir); !name.empty())
    return Diagnostic::error("E-EXISTS",
                             "folder " + quoteText(dir, 256) + " holds " + quoteText(name, 256) +
                                 ", which is not a file of the package in it",
                             "--force replaces packages only; move the file, or choose another folder with -o");
  return {};
}

Result<std::unique_ptr<PackageFolder>> PackageFolder::stage(llvm::StringRef path, Existing existing) {
  std::unique_ptr<PackageFolder> folder(new PackageFolder());
  while (path.size() > 1 && path.back() == '/')
    path = path.drop_back();
  if (path.empty() || path == "/" || path == "." || path == "..")
    return Diagnostic::error("E-EXISTS", "folder " + quoteText(path.str()) + " cannot be a package folder",
                             "name one with -o");
  if (Result<> free = check(path, existing); !free)
    return free.takeError();
  folder->path = path.str();
  folder->existing = existing;
  std::error_code code;
  fs::path parent = fs::path(folder->path).parent_path();
  if (!parent.empty())
    fs::create_directories(parent, code);
  if (code)
    return cannot("make folder", parent.string(), code.value());
  std::string staging;
  do
    staging = stagingPathOf(folder->path);
  while (mkdir(staging.c_str(), 0777) != 0 && errno == EEXIST);
  if (access(staging.c_str(), F_OK) != 0)
    return cannot("make folder", staging, errno);
  folder->staging = staging;
  return folder;
}

PackageFolder::~PackageFolder() {
  std::error_code ignored;
  if (!committed && !staging.empty())
    fs::remove_all(staging, ignored);
}

Result<std::string> PackageFolder::workDir() {
  std::string dir = staging + "/link";
  if (mkdir(dir.c_str(), 0777) != 0)
    return cannot("make folder", dir, errno);
  return dir;
}

static Result<> syncPath(const std::string &path, int flags) {
  int fd = open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  // Some file systems cannot sync a folder; a package is written nevertheless.
  bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
  int number = errno;
  if (fd >= 0)
    close(fd);
  return ok ? Result<>() : cannot("sync", path, number);
}

static Result<> writeFile(const std::string &path, const std::string &bytes) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0)
    return cannot("create", path, errno);
  size_t done = 0;
  int number = 0;
  while (done < bytes.size() && !number) {
    ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n >= 0)
      done += size_t(n);
    else if (errno != EINTR)
      number = errno;
  }
  if (!number && fsync(fd) != 0)
    number = errno;
  if (close(fd) != 0 && !number)
    number = errno;
  return number ? cannot("write", path, number) : Result<>();
}

Result<> PackageFolder::write(const std::vector<PackageFile> &files) {
  for (const PackageFile &file : files) {
    fs::path target = fs::path(staging) / file.path;
    std::error_code code;
    fs::create_directories(target.parent_path(), code);
    if (code)
      return cannot("make folder", target.parent_path().string(), code.value());
    if (Result<> written = writeFile(target.string(), file.bytes); !written)
      return written;
  }
  return {};
}

Result<> PackageFolder::commit() {
  std::error_code code;
  fs::remove_all(staging + "/link", code);
  for (fs::recursive_directory_iterator it(staging, code), end; !code && it != end; it.increment(code))
    if (it->is_directory(code))
      if (Result<> synced = syncPath(it->path().string(), O_DIRECTORY); !synced)
        return synced;
  if (Result<> free = check(path, existing); !free)
    return free;
  if (Result<> synced = syncPath(staging, O_DIRECTORY); !synced)
    return synced;
  struct stat info;
  bool present = lstat(path.c_str(), &info) == 0;
  // RENAME_NOREPLACE: somebody who made DIR since the check keeps it. RENAME_EXCHANGE: there is no moment without DIR.
  unsigned flags = present ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (renameat2(AT_FDCWD, staging.c_str(), AT_FDCWD, path.c_str(), flags) != 0) {
    if (errno != EINVAL && errno != ENOSYS)
      return cannot("rename the finished package to", path, errno);
    std::string old = staging + ".old";
    if (present && rename(path.c_str(), old.c_str()) != 0)
      return cannot("move the old package", path, errno);
    if (rename(staging.c_str(), path.c_str()) != 0) {
      int number = errno;
      if (present)
        (void)rename(old.c_str(), path.c_str());
      return cannot("rename the finished package to", path, number);
    }
    fs::remove_all(old, code);
  } else if (present) {
    fs::remove_all(staging, code); // holds the old package after the exchange
  }
  committed = true;
  std::string parent = fs::path(path).parent_path().string();
  (void)syncPath(parent.empty() ? "." : parent, O_DIRECTORY); // the package is there all the same
  return {};
}

} // namespace moec
