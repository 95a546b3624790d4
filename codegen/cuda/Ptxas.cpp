// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ptxas reads and writes anonymous memory through /proc, so that nothing is left behind however it ends.

#include "codegen/cuda/Ptxas.h"

#include "codegen/ToolRun.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

using namespace llvm;

namespace moec {
namespace {

std::string variable(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

std::string joined(StringRef folder, StringRef rest) {
  SmallString<256> path(folder);
  sys::path::append(path, rest);
  return path.str().str();
}

// lib/python3.*/site-packages and dist-packages below `prefix`, sorted.
std::vector<std::string> pythonFolders(StringRef prefix) {
  std::vector<std::string> found;
  std::error_code code;
  for (sys::fs::directory_iterator it(joined(prefix, "lib"), code), end; it != end && !code; it.increment(code))
    if (sys::path::filename(it->path()).starts_with("python3"))
      for (const char *name : {"site-packages", "dist-packages"})
        if (sys::fs::is_directory(joined(it->path(), name)))
          found.push_back(joined(it->path(), name));
  std::sort(found.begin(), found.end());
  return found;
}

// A file in memory, named by a path that child processes can open.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) : descriptor(memfd_create(name, MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }
  bool isOpen() const { return descriptor >= 0; }
  // Of the same length for every process and descriptor (FixedAddresses).
  std::string path() const {
    std::string folder = "/proc/" + std::to_string(getpid()) + "/fd/", name = std::to_string(descriptor);
    constexpr size_t length = 40;
    return folder + std::string(length - folder.size() - name.size(), '/') + name;
  }
  bool write(StringRef bytes) const {
    while (!bytes.empty()) {
      ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0)
        return false;
      bytes = bytes.drop_front(size_t(written));
    }
    return true;
  }
  std::string read() const {
    auto buffer = MemoryBuffer::getFile(path(), /*IsText=*/false, /*RequiresNullTerminator=*/false);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  }

private:
  int descriptor;
};

// While one lives, programs that this thread starts have the same addresses in every run: ptxas 13.0 orders some
// registers by address, so that equal PTX gave different cubins. Addresses of the heap also follow from the lengths of
// the arguments, which must be constant. Where the system refuses (some containers do), addresses stay random.
class FixedAddresses {
public:
  FixedAddresses() : before(personality(0xffffffff)) {
    if (before != -1)
      personality((unsigned long)before | ADDR_NO_RANDOMIZE);
  }
  ~FixedAddresses() {
    if (before != -1)
      personality((unsigned long)before);
  }
  FixedAddresses(const FixedAddresses &) = delete;
  FixedAddresses &operator=(const FixedAddresses &) = delete;

private:
  int before;
};

uint32_t versionOf(const std::string &path) {
  Result<std::string> text = runTool(path, {path, "--version"});
  if (!text)
    return 0;
  StringRef release = StringRef(*text).split("release ").second.split(',').first;
  uint32_t major = 0, minor = 0;
  if (release.split('.').first.getAsInteger(10, major) || release.split('.').second.getAsInteger(10, minor))
    return 0;
  return major * 1000 + minor * 10;
}

} // namespace

PtxasPlaces ptxasPlaces() {
  return {variable("PATH"), variable("CUDA_HOME"), variable("VIRTUAL_ENV"), variable("HOME"), "/"};
}

std::vector<std::string> ptxasFolders(const PtxasPlaces &places) {
  std::vector<std::string> folders;
  SmallVector<StringRef> parts;
  StringRef(places.path).split(parts, ':', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts)
    folders.push_back(part.str());
  if (!places.cudaHome.empty())
    folders.push_back(joined(places.cudaHome, "bin"));
  folders.push_back(joined(places.root, "usr/local/cuda/bin"));
  std::vector<std::string> prefixes;
  if (!places.virtualEnv.empty())
    prefixes.push_back(places.virtualEnv);
  if (!places.home.empty())
    prefixes.push_back(joined(places.home, ".local"));
  prefixes.push_back(joined(places.root, "usr/local"));
  prefixes.push_back(joined(places.root, "usr"));
  for (const std::string &prefix : prefixes)
    for (const std::string &packages : pythonFolders(prefix))
      for (const char *wheel : {"nvidia/cu13/bin", "nvidia/cuda_nvcc/bin"})
        folders.push_back(joined(packages, wheel));
  return folders;
}

std::optional<Ptxas> findPtxas(const PtxasPlaces &places) {
  for (const std::string &folder : ptxasFolders(places)) {
    std::string path = joined(folder, "ptxas");
    if (sys::fs::can_execute(path) && !sys::fs::is_directory(path))
      return Ptxas{path, versionOf(path)};
  }
  return std::nullopt;
}

std::string ptxasAdvice() {
  return "install the CUDA toolkit 12.4 or newer, or the Python package nvidia-cuda-nvcc (pip install "
         "nvidia-cuda-nvcc), or set CUDA_HOME";
}

// ptxas info    : Compiling entry function 'NAME' for 'sm_80'
// ptxas info    : Function properties for NAME
//     16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
// ptxas info    : Used 40 registers, used 1 barriers, 380 bytes cmem[0]
void parsePtxasLog(StringRef log, Assembled &out) {
  SmallVector<StringRef> lines;
  log.split(lines, '\n', -1, /*KeepEmpty=*/false);
  CudaKernelCost *kernel = nullptr;
  auto numberBefore = [](StringRef line, StringRef what) {
    StringRef before = line.take_front(line.find(what)).rtrim();
    uint32_t value = 0;
    if (line.contains(what))
      before.substr(before.find_last_not_of("0123456789") + 1).getAsInteger(10, value);
    return value;
  };
  for (StringRef line : lines) {
    line = line.trim();
    if (line.contains("Compiling entry function '")) {
      kernel = &out.kernels[line.split("function '").second.split('\'').first.str()];
    } else if (kernel && line.contains("bytes stack frame")) {
      kernel->localBytes = numberBefore(line, " bytes stack frame");
      kernel->spillBytes = numberBefore(line, " bytes spill stores") + numberBefore(line, " bytes spill loads");
    } else if (kernel && line.contains("Used ")) {
      kernel->registers = numberBefore(line, " registers");
    } else if (line.contains("(C7") || line.contains("warning") || line.contains("error")) {
      out.messages.push_back(line.str());
    }
  }
}

// Lines of ptxas about a line of its input: "ptxas in.ptx, line 3; error   : Unknown symbol 'x'".
static bool blamesPtx(StringRef said) {
  size_t at = said.find(", line ");
  StringRef kind = at == StringRef::npos ? StringRef() : said.substr(at).split(';').second.ltrim();
  return kind.starts_with("error") || kind.starts_with("fatal");
}

Result<Assembled> runPtxas(const Ptxas &ptxas, StringRef ptx, CudaArch arch) {
  MemoryFile input("kernels.ptx"), cubin("kernels.cubin");
  if (!input.isOpen() || !cubin.isOpen() || !input.write(ptx))
    return Diagnostic::error("E-MEMORY", std::string("no memory for the files of ptxas: ") + std::strerror(errno));
  FixedAddresses sameInEveryRun;
  Result<std::string> said = runTool(
      ptxas.path, {"ptxas", "-arch=" + cudaArchFacts(arch).name.str(), "-O3", "-v", "-o", cubin.path(), input.path()},
      /*chatter=*/"ptxas info");
  if (!said) {
    Diagnostic error = said.takeError();
    if (blamesPtx(error.message)) // which is moec's
      error.code = "E-INTERNAL";
    else if (error.code == "E-TOOL")
      error.hint = "moec doctor says which ptxas is used; " + ptxasAdvice();
    return error;
  }
  Assembled out;
  out.cubin = cubin.read();
  parsePtxasLog(*said, out);
  if (!out.cubin.empty())
    return out;
  return Diagnostic::error("E-TOOL", escaped(ptxas.path) + " ended without an error and wrote no cubin",
                           "moec doctor says which ptxas is used; " + ptxasAdvice());
}

Result<> checkCubin(StringRef cubin, StringRef ptx) {
  auto refuse = [](const Twine &why) {
    return Diagnostic::error("E-TOOL", ("what ptxas wrote is no cubin: " + why).str(),
                             "moec doctor says which ptxas is used; " + ptxasAdvice());
  };
  auto object = object::ObjectFile::createELFObjectFile(MemoryBufferRef(cubin, "cubin"));
  if (!object)
    return refuse(toString(object.takeError()));
  if (cast<object::ELFObjectFileBase>(**object).getEMachine() != ELF::EM_CUDA)
    return refuse("it is for another machine");
  StringSet<> sections;
  for (const object::SectionRef &section : (*object)->sections())
    if (Expected<StringRef> name = section.getName())
      sections.insert(*name);
    else
      return refuse(toString(name.takeError()));
  while (true) {
    ptx = ptx.split(".visible .entry ").second;
    StringRef kernel = ptx.take_until([](char c) { return !isAlnum(c) && c != '_' && c != '$'; });
    if (kernel.empty())
      return {};
    if (!sections.contains((".text." + kernel).str()))
      return refuse("kernel " + kernel + " is missing");
  }
}

} // namespace moec
