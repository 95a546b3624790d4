// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CompiledPackage and its library -> every file of the package folder:
//
//   include/NAME.h                       lib/libNAME.a or .so
//   lib/cmake/NAME/NAMEConfig.cmake, NAMEConfigVersion.cmake
//   lib/pkgconfig/NAME.pc
//   share/NAME/manifest.json             share/NAME/spec.json, schedule.txt

#ifndef MOEC_CODEGEN_EMIT_PACKAGEFILES_H
#define MOEC_CODEGEN_EMIT_PACKAGEFILES_H

#include "PackageFolder.h"

#include "codegen/emit/CompiledPackage.h"

#include <string>
#include <utility>
#include <vector>

namespace moec {

enum class LibraryKind { Static, Shared };

// Runtimes and packages of {first, before second} work together: {"0.1", "0.2"} of 0.1.*, {"2", "3"} of 2.*.
std::pair<std::string, std::string> compatibleVersions(int major, int minor);

std::string libraryFileName(llvm::StringRef name, LibraryKind kind); // "libtiny.a"

// Equal packages give equal files, byte for byte. An error is E-INTERNAL.
Result<std::vector<PackageFile>> packageFiles(const CompiledPackage &package, LibraryKind kind,
                                              std::string libraryBytes);

} // namespace moec

#endif
