// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytes of a library, and the plan in it, beside what the manifest says of them.

#include "codegen/package/StoredLibrary.h"

#include "codegen/package/LoadedLibrary.h"

#include "dsl/text/Sha256.h"

namespace moec {

Result<StoredLibrary> readLibrary(const StoredPackage &stored, Preferred preferred) {
  const PackageManifest &manifest = stored.manifest();
  const std::string stem = "lib/lib" + manifest.name, archive = stem + ".a", shared = stem + ".so";
  if (!manifest.lists(archive) && !manifest.lists(shared))
    return stored.damaged("manifest.json lists neither " + archive + " nor " + shared);
  StoredLibrary library;
  library.isShared = preferred == Preferred::Shared ? manifest.lists(shared) : !manifest.lists(archive);
  const std::string &file = library.isShared ? shared : archive;
  Result<std::string> bytes = stored.read(file, maxLibraryBytes);
  if (!bytes)
    return bytes.takeError();
  if (library.isShared)
    if (Result<> whole = checkSharedObject(*bytes); !whole)
      return stored.damaged(whole.error().message);
  library.hash = hexText(sha256(*bytes));
  library.bytes = std::move(*bytes);
  library.path = stored.pathOf(file);
  return library;
}

Result<PlanTables> readStoredPlan(const StoredPackage &stored, const moec_package *package) {
  Result<PlanTables> plan = readPlan(package);
  if (!plan)
    return stored.damaged(plan.error().message);
  if (identityText(plan->header) != stored.manifest().identity)
    return stored.damaged("its library is of another layer than manifest.json says");
  return plan;
}

} // namespace moec
