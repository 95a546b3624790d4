// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The PACKAGE argument of moec-run -> the package in this process, with its plan and its layer.

#ifndef MOEC_CODEGEN_RUN_OPENEDPACKAGE_H
#define MOEC_CODEGEN_RUN_OPENEDPACKAGE_H

#include "codegen/package/LoadedLibrary.h"
#include "codegen/package/PlanTables.h"
#include "codegen/package/StoredPackage.h"

#include <memory>
#include <optional>
#include <string>

namespace moec {

struct OpenedPackage {
  StoredPackage stored;
  std::unique_ptr<LoadedLibrary> library;
  PlanTables plan;
  std::string libraryHash;                     // 64 hex digits
  std::optional<StoredPackage::Source> source; // nullopt: the layer was written in the dialect
};

// The library has the hash of the manifest before any of its code runs: libNAME.so, or libNAME.a linked by this
// machine's linker. Errors are E-FILE, E-PACKAGE, E-TOOL and E-WRITE.
Result<std::unique_ptr<LoadedLibrary>> loadLibrary(const StoredPackage &stored, std::string &hash);

// The same with plan and layer, which must be of the identity that the manifest says.
Result<OpenedPackage> openPackage(const std::string &path);

// openPackage, and an error E-UNSUPPORTED for a layer of the dialect; `verb` names the verb of moec that can do it.
Result<OpenedPackage> openSpecPackage(const std::string &path, const char *verb);

} // namespace moec

#endif
