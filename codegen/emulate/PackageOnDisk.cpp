// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Library and plan of a package folder, each checked before it is used.

#include "codegen/emulate/PackageOnDisk.h"

#include "codegen/package/StoredLibrary.h"

#include "llvm/Object/Archive.h"
#include "llvm/Support/MemoryBuffer.h"

#include <filesystem>

namespace moec {

static Result<> takeObjects(const StoredPackage &stored, const std::string &archive, CompiledPackage &package) {
  auto refuse = [&](llvm::Error error) {
    return stored.damaged("its archive cannot be read: " + llvm::toString(std::move(error)));
  };
  auto opened = llvm::object::Archive::create(llvm::MemoryBufferRef(archive, "package"));
  if (!opened)
    return refuse(opened.takeError());
  llvm::Error error = llvm::Error::success();
  for (const llvm::object::Archive::Child &child : (*opened)->children(error)) {
    auto name = child.getName();
    if (!name)
      return refuse(name.takeError());
    auto bytes = child.getBuffer();
    if (!bytes)
      return refuse(bytes.takeError());
    package.objects.push_back({name->str(), llvm::SmallVector<char, 0>(bytes->begin(), bytes->end())});
  }
  if (error)
    return refuse(std::move(error));
  return {};
}

Result<std::unique_ptr<LoadedPackage>> PackageOnDisk::load() const {
  Result<std::unique_ptr<LoadedPackage>> loaded =
      sharedLibrary.empty() ? LoadedPackage::load(compiled) : LoadedPackage::open(sharedLibrary, compiled.name);
  if (!loaded)
    return stored.damaged(loaded.error().message);
  return loaded;
}

bool isPackageFolder(const std::string &folder) { return StoredPackage::isOne(folder); }

Result<std::unique_ptr<PackageOnDisk>> openPackage(const std::string &folder) {
  Result<StoredPackage> stored = StoredPackage::open(folder);
  if (!stored)
    return stored.takeError();
  if (Result<> abi = checkAbi(*stored); !abi)
    return abi.takeError();
  std::unique_ptr<PackageOnDisk> package(new PackageOnDisk{std::move(*stored), {}, {}, {}, {}, {}});
  package->folder = folder;
  package->compiled.name = package->stored.manifest().name;
  Result<StoredLibrary> library = readLibrary(package->stored, Preferred::Archive);
  if (!library)
    return library.takeError();
  package->libraryHash = std::move(library->hash);
  if (library->isShared)
    package->sharedLibrary = std::move(library->path);
  else if (Result<> taken = takeObjects(package->stored, library->bytes, package->compiled); !taken)
    return taken.takeError();
  Result<std::unique_ptr<LoadedPackage>> loaded = package->load();
  if (!loaded)
    return loaded.takeError();
  Result<PlanTables> plan = readStoredPlan(package->stored, (*loaded)->get());
  if (!plan)
    return plan.takeError();
  static_cast<PlanTables &>(package->compiled.plan) = std::move(*plan);
  if (const moec_package *pass = backwardOf((*loaded)->get())) {
    Result<PlanTables> backward = readPlan(pass);
    if (!backward)
      return package->stored.damaged(backward.error().message);
    package->compiled.backward = std::make_unique<CompiledPackage>();
    static_cast<PlanTables &>(package->compiled.backward->plan) = std::move(*backward);
  }
  Result<std::optional<StoredPackage::Source>> source = package->stored.source();
  if (!source)
    return source.takeError();
  package->source = std::move(*source);
  return package;
}

} // namespace moec
