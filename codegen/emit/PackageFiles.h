// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CompiledPackage and its library -> every file of the package folder:
//
//   include/NAME.h                       lib/libNAME.a or .so
//   lib/cmake/NAME/NAMEConfig.cmake      NAMEConfigVersion.cmake
//   lib/pkgconfig/NAME.pc
//   share/NAME/manifest.json             what it was made from, and the hash of every other file
//   share/NAME/spec.json                 or layer.mlir
//   share/NAME/schedule.txt              the schedule used; tuning.jsonl: the records that it follows
//   share/NAME/templates/                functions in use, and kernels that are not moec's own
//
// `moec compile share/NAME` makes the same files again.

#ifndef MOEC_CODEGEN_EMIT_PACKAGEFILES_H
#define MOEC_CODEGEN_EMIT_PACKAGEFILES_H

#include "PackageFolder.h"

#include "codegen/emit/CompiledPackage.h"

#include <string>
#include <utility>
#include <vector>

namespace moec {

enum class LibraryKind { Static, Shared, Both };
llvm::StringRef libraryKindName(LibraryKind kind); // "static", "shared", "both": values of --emit

// Runtimes and packages of {first, before second} work together: {"0.1", "0.2"} of 0.1.*, {"2", "3"} of 2.*.
std::pair<std::string, std::string> compatibleVersions(int major, int minor);

std::string libraryFileName(llvm::StringRef name, LibraryKind kind); // "libtiny.a"; of both the archive's

// The library's bytes: of a kind, or of both.
struct PackageLibraries {
  std::string archive, shared; // empty: not of this kind
};

// Equal packages give equal files, byte for byte. An error is E-INTERNAL.
Result<std::vector<PackageFile>> packageFiles(const CompiledPackage &package, PackageLibraries libraries);

} // namespace moec

#endif
