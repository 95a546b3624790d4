// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// dlopen, with a look at the file's headers before it.

#include "codegen/package/LoadedLibrary.h"

#include "runtime/moec.h"

#include <cstring>
#include <dlfcn.h>
#include <elf.h>

namespace moec {

static Diagnostic refusal() {
  const char *why = dlerror();
  return Diagnostic::error("E-TOOL", escaped(why ? why : "the dynamic linker gives no reason"));
}

Result<std::unique_ptr<LoadedLibrary>> LoadedLibrary::open(const std::string &path, const std::string &name) {
  std::unique_ptr<LoadedLibrary> library(new LoadedLibrary);
  // Without a slash the linker would search its folders.
  library->handle = dlopen((path.find('/') == std::string::npos ? "./" + path : path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library->handle)
    return refusal();
  void *getter = dlsym(library->handle, (name + "_package").c_str());
  if (!getter)
    return refusal();
  library->found = reinterpret_cast<const moec_package *(*)()>(getter)();
  return library;
}

LoadedLibrary::~LoadedLibrary() {
  if (handle)
    dlclose(handle);
}

Result<> checkSharedObject(std::string_view bytes) {
  auto refuse = [](const char *why) {
    return Diagnostic::error("E-PACKAGE", std::string("its shared library cannot be read: ") + why);
  };
  Elf64_Ehdr header;
  if (bytes.size() < sizeof header)
    return refuse("it is too short");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
    return refuse("it is not a shared object of 64 bits");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > bytes.size() ||
      header.e_phnum > (bytes.size() - header.e_phoff) / sizeof(Elf64_Phdr))
    return refuse("its program headers end after the file");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_offset > bytes.size() || segment.p_filesz > bytes.size() - segment.p_offset)
      return refuse("a segment ends after the file");
  }
  return {};
}

} // namespace moec
