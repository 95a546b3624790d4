// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stored package -> its library and its plan, each checked before it is used.

#ifndef MOEC_CODEGEN_PACKAGE_STOREDLIBRARY_H
#define MOEC_CODEGEN_PACKAGE_STOREDLIBRARY_H

#include "codegen/package/PlanTables.h"
#include "codegen/package/StoredPackage.h"

#include <string>

namespace moec {

struct StoredLibrary {
  std::string bytes, hash; // hash: 64 hex digits
  std::string path;        // on disk
  bool isShared = false;   // libNAME.so, a whole shared object; otherwise libNAME.a
};

enum class Preferred { Archive, Shared }; // of a package that has both

// The library has the hash of the manifest. Errors are E-FILE and E-PACKAGE.
Result<StoredLibrary> readLibrary(const StoredPackage &stored, Preferred preferred);

// The plan of the package that a loaded library gives, which must be of the identity that the manifest says. The error
// is E-PACKAGE.
Result<PlanTables> readStoredPlan(const StoredPackage &stored, const moec_package *package);

} // namespace moec

#endif
