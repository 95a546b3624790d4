// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Objects in -> archive or shared library out. The linker is run with an argument array, never through a shell.

#include "PackageLibrary.h"

#include "codegen/package/LinkedArchive.h"

#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <vector>

using namespace llvm;

namespace moec {

Result<std::string> archiveBytes(const CompiledPackage &package) {
  std::vector<NewArchiveMember> members;
  for (const ObjectFile &object : package.objects) {
    NewArchiveMember member(MemoryBufferRef(StringRef(object.bytes.data(), object.bytes.size()), object.name));
    member.MemberName = object.name;
    members.push_back(std::move(member));
  }
  auto archive = writeArchiveToBuffer(members, SymtabWritingMode::NormalSymtab, object::Archive::K_GNU,
                                      /*Deterministic=*/true, /*Thin=*/false);
  if (!archive)
    return Diagnostic::error("E-INTERNAL", "the archive writer refused the objects: " + toString(archive.takeError()));
  return (*archive)->getBuffer().str();
}

std::string findLinker() {
  for (StringRef name : linkerNames)
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return {};
}

static constexpr const char *toolCode = "E-TOOL";

static Result<> writeWorkFile(const std::string &path, StringRef bytes) {
  std::error_code code;
  raw_fd_ostream os(path, code);
  if (!code) {
    os << bytes;
    os.close();
    code = os.error();
    os.clear_error();
  }
  if (code)
    return Diagnostic::error(toolCode, "cannot write \"" + path + "\": " + code.message());
  return {};
}

static std::string inDir(StringRef dir, StringRef name) {
  SmallString<256> path(dir);
  sys::path::append(path, name);
  return path.str().str();
}

Result<std::string> sharedLibraryBytes(const CompiledPackage &package, StringRef workDir) {
  std::string linker = findLinker();
  if (linker.empty())
    return Diagnostic::error(toolCode, "no linker found: looked for ld.lld-22, ld.lld and ld in PATH");
  std::string exports = inDir(workDir, "exports"), out = inDir(workDir, "out.so"), log = inDir(workDir, "log");
  std::vector<std::string> owned = {linker,
                                    "-shared",
                                    "--version-script=" + exports,
                                    "-soname",
                                    "lib" + package.name + ".so",
                                    "-z",
                                    "noexecstack",
                                    "-z",
                                    "relro",
                                    "-z",
                                    "now",
                                    "--build-id=none",
                                    "-o",
                                    out};
  if (Result<> written = writeWorkFile(exports, "{ global: " + package.name + "_package; local: *; };\n"); !written)
    return written.takeError();
  for (auto [i, object] : enumerate(package.objects)) {
    owned.push_back(inDir(workDir, std::to_string(i) + ".o"));
    if (Result<> written = writeWorkFile(owned.back(), StringRef(object.bytes.data(), object.bytes.size())); !written)
      return written.takeError();
  }
  std::vector<StringRef> args(owned.begin(), owned.end());
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(log), StringRef(log)};
  std::string reason;
  int code = sys::ExecuteAndWait(linker, args, std::nullopt, redirects, 0, 0, &reason);
  auto read = [](const std::string &path) {
    auto buffer = MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  };
  std::string bytes = code == 0 ? read(out) : std::string();
  if (bytes.empty())
    return Diagnostic::error(toolCode, linker + " failed with code " + std::to_string(code) + ": " + reason +
                                           StringRef(read(log)).trim().str());
  return bytes;
}

} // namespace moec
