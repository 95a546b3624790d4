// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The linker is run with an argument array, never through a shell.

#include "codegen/package/LinkedArchive.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace fs = std::filesystem;

namespace moec {

namespace {
// A folder that is removed with everything in it.
struct WorkFolder {
  std::string path;
  WorkFolder() {
    const char *base = std::getenv("TMPDIR");
    std::string form = std::string(base && *base ? base : "/tmp") + "/moec-run-XXXXXX";
    if (mkdtemp(form.data()))
      path = form;
  }
  ~WorkFolder() {
    std::error_code ignored;
    if (!path.empty())
      fs::remove_all(path, ignored);
  }
};
} // namespace

static Diagnostic cannotWrite(const std::string &what) {
  return Diagnostic::error("E-WRITE", "cannot write " + quoteText(what, 256) + ": " + std::strerror(errno),
                           "TMPDIR names the folder for intermediate files");
}

static Result<> writeFile(const std::string &path, const std::string &bytes) {
  errno = 0;
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), std::streamsize(bytes.size()));
  out.close();
  return out ? Result<>() : cannotWrite(path);
}

static std::string readAll(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The exit status of the first of linkerNames that PATH has, with what it says in `log`; -1: PATH has none of them.
static int runLinker(std::vector<std::string> arguments, const std::string &log, std::string &name) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  int status = -1;
  for (const char *linker : linkerNames) {
    std::vector<char *> argv = {const_cast<char *>(linker)};
    for (std::string &argument : arguments)
      argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    if (posix_spawnp(&pid, linker, &actions, nullptr, argv.data(), environ) != 0)
      continue;
    name = linker;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    break;
  }
  posix_spawn_file_actions_destroy(&actions);
  return status;
}

Result<std::unique_ptr<LoadedLibrary>> linkArchive(const std::string &archive, const std::string &name) {
  WorkFolder folder;
  if (folder.path.empty())
    return cannotWrite("a folder for the linker");
  const std::string in = folder.path + "/in.a", exports = folder.path + "/exports", out = folder.path + "/out.so",
                    log = folder.path + "/log";
  if (Result<> written = writeFile(in, archive); !written)
    return written.takeError();
  if (Result<> written = writeFile(exports, "{ global: " + name + "_package; local: *; };\n"); !written)
    return written.takeError();
  std::string linker;
  int status = runLinker({"-shared", "--version-script=" + exports, "-z", "noexecstack", "-o", out, "--whole-archive",
                          in, "--no-whole-archive"},
                         log, linker);
  if (linker.empty())
    return Diagnostic::error("E-TOOL",
                             "the package holds an archive, and PATH has no linker: looked for ld.lld-22, "
                             "ld.lld and ld",
                             "moec compile --emit both adds a shared library, which needs none");
  if (status != 0)
    return Diagnostic::error("E-TOOL",
                             linker + " cannot link the package's archive: " + escaped(readAll(log).substr(0, 1000)));
  if (Result<> whole = checkSharedObject(readAll(out)); !whole)
    return whole.takeError();
  return LoadedLibrary::open(out, name);
}

} // namespace moec
