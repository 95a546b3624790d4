// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// libNAME.so of a package -> the package, callable in this process.
//
// Its code runs, so a library is as trustworthy as a program.

#ifndef MOEC_CODEGEN_PACKAGE_LOADEDLIBRARY_H
#define MOEC_CODEGEN_PACKAGE_LOADEDLIBRARY_H

#include "dsl/text/Result.h"

#include <memory>
#include <string>
#include <string_view>

struct moec_package;

namespace moec {

class LoadedLibrary {
public:
  // By the dynamic linker; the package is what NAME_package() returns. The error, E-TOOL, is that linker's text.
  static Result<std::unique_ptr<LoadedLibrary>> open(const std::string &path, const std::string &name);
  ~LoadedLibrary();
  LoadedLibrary(const LoadedLibrary &) = delete;
  LoadedLibrary &operator=(const LoadedLibrary &) = delete;

  const moec_package *package() const { return found; }

private:
  LoadedLibrary() = default;
  void *handle = nullptr;
  const moec_package *found = nullptr;
};

// Whether the dynamic linker may map these bytes: it maps what the program headers name, also beyond the end of a cut
// file, and crashes there. The error, E-PACKAGE, says what is wrong.
Result<> checkSharedObject(std::string_view bytes);

} // namespace moec

#endif
