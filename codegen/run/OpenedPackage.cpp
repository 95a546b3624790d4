// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A path in -> a checked package out.

#include "codegen/run/OpenedPackage.h"

#include "codegen/package/LinkedArchive.h"

#include "dsl/text/Sha256.h"

namespace moec {

Result<std::unique_ptr<LoadedLibrary>> loadLibrary(const StoredPackage &stored, std::string &hash) {
  const PackageManifest &manifest = stored.manifest();
  const std::string shared = "lib/lib" + manifest.name + ".so", archive = "lib/lib" + manifest.name + ".a";
  bool isShared = manifest.lists(shared);
  if (!isShared && !manifest.lists(archive))
    return stored.damaged("manifest.json lists neither " + archive + " nor " + shared);
  Result<std::string> bytes = stored.read(isShared ? shared : archive, maxLibraryBytes);
  if (!bytes)
    return bytes.takeError();
  hash = hexText(sha256(*bytes));
  if (!isShared)
    return linkArchive(*bytes, manifest.name);
  if (Result<> whole = checkSharedObject(*bytes); !whole)
    return stored.damaged(whole.error().message);
  return LoadedLibrary::open(stored.pathOf(shared), manifest.name);
}

Result<OpenedPackage> openPackage(const std::string &path) {
  Result<StoredPackage> stored = StoredPackage::open(path);
  if (!stored)
    return stored.takeError();
  if (Result<> abi = checkAbi(*stored); !abi)
    return abi.takeError();
  OpenedPackage package = {std::move(*stored), nullptr, {}, "", std::nullopt};
  Result<std::optional<StoredPackage::Source>> source = package.stored.source();
  if (!source)
    return source.takeError();
  package.source = std::move(*source);
  Result<std::unique_ptr<LoadedLibrary>> library = loadLibrary(package.stored, package.libraryHash);
  if (!library)
    return library.takeError();
  package.library = std::move(*library);
  Result<PlanTables> plan = readPlan(package.library->package());
  if (!plan)
    return package.stored.damaged(plan.error().message);
  package.plan = std::move(*plan);
  if (identityText(package.plan.header) != package.stored.manifest().identity)
    return package.stored.damaged("its library is of another layer than manifest.json says");
  return package;
}

Result<OpenedPackage> openSpecPackage(const std::string &path, const char *verb) {
  Result<OpenedPackage> package = openPackage(path);
  if (package && !package->source)
    return Diagnostic::error(
        "E-UNSUPPORTED", quoteText(path, 256) + " was made from text of the moe dialect, which only the compiler reads",
        std::string("moec ") + verb + " takes the package on a machine with the compiler");
  return package;
}

} // namespace moec
