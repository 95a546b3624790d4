// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Objects in -> archive or shared library out. The linker is run with an argument array, never through a shell.

#include "PackageLibrary.h"

#include "EmbeddedRuntime.h"

#include "codegen/ToolRun.h"
#include "codegen/package/LinkedArchive.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <cerrno>
#include <cstring>
#include <set>
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

LibraryContents packageContents(const CompiledPackage &package) {
  return package.sources.options.sanitizer.empty() ? LibraryContents::Calls : LibraryContents::Kernels;
}

std::string findLinker() {
  for (StringRef name : linkerNames)
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return {};
}

static constexpr const char *toolCode = "E-TOOL", *writeCode = "E-WRITE";

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
    return Diagnostic::error(writeCode, "cannot write " + quoteText(path, 256) + ": " + code.message());
  return {};
}

static std::string inDir(StringRef dir, StringRef name) {
  SmallString<256> path(dir);
  sys::path::append(path, name);
  return path.str().str();
}

Result<std::string> requireLinker() {
  if (std::string linker = findLinker(); !linker.empty())
    return linker;
  return Diagnostic::error(toolCode, "no linker found: looked for ld.lld-22, ld.lld and ld in PATH",
                           "moec doctor lists the programs moec runs; --emit static needs none");
}

// A linker that finds no room says so in the words of the system.
static bool foundNoRoom(StringRef said) {
  return llvm::any_of(ArrayRef<int>{ENOSPC, EFBIG, EDQUOT},
                      [&](int number) { return said.contains(std::strerror(number)); });
}

// The library must hold what its users look for.
static Result<> checkLibrary(StringRef bytes, const std::set<std::string> &symbols, const std::string &linker) {
  auto refuse = [&](const Twine &why) {
    return Diagnostic::error(toolCode, ("what " + escaped(linker) + " wrote is no library: " + why).str());
  };
  auto object = object::ObjectFile::createELFObjectFile(MemoryBufferRef(bytes, "library"));
  if (!object)
    return refuse(toString(object.takeError()));
  std::set<std::string> missing = symbols;
  for (const object::ELFSymbolRef &found : cast<object::ELFObjectFileBase>(**object).getDynamicSymbolIterators()) {
    Expected<StringRef> name = found.getName();
    if (!name)
      return refuse(toString(name.takeError()));
    missing.erase(name->str());
  }
  return missing.empty() ? Result<>() : refuse(join(missing, ", ") + " is missing");
}

// Files of `workDir` for the linker, written one by one.
namespace {
struct LinkInputs {
  StringRef workDir;
  std::vector<std::string> paths;
  Result<> add(const Twine &name, StringRef bytes) {
    paths.push_back(inDir(workDir, name.str()));
    return writeWorkFile(paths.back(), bytes);
  }
};
} // namespace

// The package's objects, and with calls the runtime and stubs of the libraries that it needs.
static Result<std::vector<std::string>> writeInputs(const CompiledPackage &package, LibraryContents contents,
                                                    StringRef workDir) {
  LinkInputs inputs = {workDir, {}};
  for (auto [i, object] : enumerate(package.objects))
    if (Result<> written = inputs.add(Twine(i) + ".o", StringRef(object.bytes.data(), object.bytes.size())); !written)
      return written.takeError();
  if (contents == LibraryContents::Kernels)
    return inputs.paths;
  const std::pair<const char *, StringRef> embedded[] = {
      {"runtime.a", embeddedRuntimeArchive()}, {"libc.so", embeddedLibcStub()}, {"loader.so", embeddedLoaderStub()}};
  for (auto [name, bytes] : embedded)
    if (Result<> written = inputs.add(name, bytes); !written)
      return written.takeError();
  return inputs.paths;
}

Result<std::string> sharedLibraryBytes(const CompiledPackage &package, LibraryContents contents, StringRef workDir) {
  std::string symbol = package.name + "_package";
  Result<std::string> linker = requireLinker();
  if (!linker)
    return linker.takeError();
  std::string exports = inDir(workDir, "exports"), out = inDir(workDir, "out.so");
  std::vector<std::string> args = {*linker,
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
  std::set<std::string> exported = {symbol};
  std::string script = symbol + "; ";
  if (contents == LibraryContents::Calls) {
    args.insert(args.end(), {"--defsym=moec_bound_package=" + symbol, "--gc-sections", "-z", "defs"});
    for (StringRef call : embeddedCalls()) {
      std::string function = ("__tvm_ffi_" + call).str();
      args.insert(args.end(), {"-u", function}); // it is taken from the archive, and what it needs
      script += function + "; ";
      exported.insert(function);
    }
  }
  if (Result<> written = writeWorkFile(exports, "{ global: " + script + "local: *; };\n"); !written)
    return written.takeError();
  Result<std::vector<std::string>> inputs = writeInputs(package, contents, workDir);
  if (!inputs)
    return inputs.takeError();
  args.insert(args.end(), inputs->begin(), inputs->end());
  Result<std::string> said = runTool(*linker, args);
  if (!said) {
    Diagnostic error = said.takeError();
    if (foundNoRoom(error.message))
      error.code = writeCode;
    return error;
  }
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer =
      MemoryBuffer::getFile(out, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return Diagnostic::error(toolCode, escaped(*linker) + " ended without an error and wrote no library");
  std::string bytes = (*buffer)->getBuffer().str();
  if (Result<> checked = checkLibrary(bytes, exported, *linker); !checked)
    return checked.takeError();
  return bytes;
}

} // namespace moec
