// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A path in -> a checked package out.

#include "codegen/run/OpenedPackage.h"

#include "codegen/package/LinkedArchive.h"
#include "codegen/package/StoredLibrary.h"

namespace moec {

Result<std::unique_ptr<LoadedLibrary>> loadLibrary(const StoredPackage &stored, std::string &hash) {
  Result<StoredLibrary> library = readLibrary(stored, Preferred::Shared);
  if (!library)
    return library.takeError();
  hash = library->hash;
  const std::string &name = stored.manifest().name;
  return library->isShared ? LoadedLibrary::open(library->path, name) : linkArchive(library->bytes, name);
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
  Result<PlanTables> plan = readStoredPlan(package.stored, package.library->package());
  if (!plan)
    return plan.takeError();
  package.plan = std::move(*plan);
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
