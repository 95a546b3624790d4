// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package folder that `moec compile` wrote -> the package, callable in this process, and its launch plan.
//
// Nothing of the folder is trusted: the library, the spec and its functions must have the hashes of manifest.json, and
// the runtime checks the plan before it is copied. Its code runs all the same, so a folder is as trustworthy as a
// program. A shared library is opened by the dynamic linker, an archive by the JIT linker.

#ifndef MOEC_CODEGEN_EMULATE_PACKAGEONDISK_H
#define MOEC_CODEGEN_EMULATE_PACKAGEONDISK_H

#include "codegen/emit/CompiledPackage.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/package/StoredPackage.h"

#include <memory>
#include <string>

namespace moec {

struct PackageOnDisk {
  StoredPackage stored;
  std::string folder;
  std::string libraryHash;                     // 64 hex digits
  std::optional<StoredPackage::Source> source; // nullopt: it was made from a .mlir file
  // Name and plan; with an archive, its objects.
  CompiledPackage compiled;
  std::string sharedLibrary; // path; empty: an archive

  // Another copy of the package, ready to be called. An error is E-PACKAGE.
  Result<std::unique_ptr<LoadedPackage>> load() const;
};

// Whether a folder holds a package: share/NAME/manifest.json exists.
bool isPackageFolder(const std::string &folder);

// Of two libraries the archive is taken. Errors are E-FILE (a file cannot be read) and E-PACKAGE (it is not what the
// manifest says, or is for another version of the ABI).
Result<std::unique_ptr<PackageOnDisk>> openPackage(const std::string &folder);

} // namespace moec

#endif
