// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files in a folder that does not stay, and a linker that reads them.

#include "codegen/package/LinkedArchive.h"

#include "codegen/ToolRun.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

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

// The path of the first of linkerNames that PATH has; empty: it has none of them.
static std::string findLinker() {
  const char *path = std::getenv("PATH");
  for (const char *name : linkerNames) {
    std::istringstream folders(path ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');) {
      std::string file = (folder.empty() ? "." : folder) + "/" + name;
      std::error_code ignored;
      if (fs::is_regular_file(file, ignored) && access(file.c_str(), X_OK) == 0)
        return file;
    }
  }
  return {};
}

Result<std::unique_ptr<LoadedLibrary>> linkArchive(const std::string &archive, const std::string &name) {
  const std::string linker = findLinker();
  if (linker.empty())
    return Diagnostic::error("E-TOOL",
                             "the package holds an archive, and PATH has no linker: looked for ld.lld-22, "
                             "ld.lld and ld",
                             "moec compile --emit both adds a shared library, which needs none");
  WorkFolder folder;
  if (folder.path.empty())
    return cannotWrite("a folder for the linker");
  const std::string in = folder.path + "/in.a", exports = folder.path + "/exports", out = folder.path + "/out.so";
  if (Result<> written = writeFile(in, archive); !written)
    return written.takeError();
  if (Result<> written = writeFile(exports, "{ global: " + name + "_package; local: *; };\n"); !written)
    return written.takeError();
  Result<std::string> said = runTool(linker, {linker, "-shared", "--version-script=" + exports, "-z", "noexecstack",
                                              "-o", out, "--whole-archive", in, "--no-whole-archive"});
  if (!said)
    return said.takeError();
  if (Result<> whole = checkSharedObject(readAll(out)); !whole)
    return whole.takeError();
  return LoadedLibrary::open(out, name);
}

} // namespace moec
