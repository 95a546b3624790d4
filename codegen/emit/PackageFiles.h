// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CompiledPackage and its library -> every file of the package folder:
//
//   include/NAME.h                       lib/libNAME.a or .so
//   lib/cmake/NAME/NAMEConfig.cmake      lib/pkgconfig/NAME.pc
//   share/NAME/manifest.json             share/NAME/spec.json, schedule.txt

#ifndef MOEC_CODEGEN_EMIT_PACKAGEFILES_H
#define MOEC_CODEGEN_EMIT_PACKAGEFILES_H

#include "PackageFolder.h"

#include "codegen/emit/CompiledPackage.h"

#include <string>
#include <vector>

namespace moec {

enum class LibraryKind { Static, Shared };

std::string libraryFileName(llvm::StringRef name, LibraryKind kind); // "libtiny.a"

// Equal packages give equal files, byte for byte. An error is E-INTERNAL.
Result<std::vector<PackageFile>> packageFiles(const CompiledPackage &package, LibraryKind kind,
                                              std::string libraryBytes);

} // namespace moec

#endif
