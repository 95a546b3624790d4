// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-run inspect: what a package is, and whether its files are those that it was made with.

#include "codegen/run/OpenedPackage.h"
#include "codegen/run/RunVerbs.h"

#include "codegen/package/PackageReport.h"

#include <iostream>

namespace moec {

int runInspect(const RunInspectFlags &flags) {
  Result<StoredPackage> stored = StoredPackage::open(flags.package);
  if (!stored)
    return say(stored.error());
  Result<PackageFacts> facts = factsOf(*stored, nullptr);
  if (!facts)
    return say(facts.error());
  int exit = 0;
  for (const Diagnostic &error : fileErrors(*stored, *facts))
    exit = say(error);
  // Code of a package that is not what it was made as does not run.
  std::unique_ptr<LoadedLibrary> library;
  if (!exit) {
    if (Result<> abi = checkAbi(*stored); !abi)
      return say(abi.error());
    if (Result<std::optional<StoredPackage::Source>> source = stored->source(); !source)
      return say(source.error());
    std::string hash;
    Result<std::unique_ptr<LoadedLibrary>> loaded = loadLibrary(*stored, hash);
    if (!loaded)
      exit = say(loaded.error());
    else if (facts = factsOf(*stored, (*loaded)->package()); !facts)
      return say(facts.error());
    else
      library = std::move(*loaded);
  }
  if (!flags.json) {
    std::cout << packageText(*stored, *facts);
    return exit;
  }
  JsonWriter json(std::cout, 2);
  json.object([&] { writePackageMembers(json, *stored, *facts); });
  std::cout << "\n";
  return exit;
}

} // namespace moec
