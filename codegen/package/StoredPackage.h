// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package that `moec compile` wrote -> its manifest, and its files with the bytes that the manifest promises.
//
// Nothing here runs code of the package. Errors are E-FILE (a file cannot be read) and E-PACKAGE (it is not what the
// manifest says).

#ifndef MOEC_CODEGEN_PACKAGE_STOREDPACKAGE_H
#define MOEC_CODEGEN_PACKAGE_STOREDPACKAGE_H

#include "codegen/package/PackageManifest.h"

#include "dsl/LayerSpec.h"
#include "dsl/spec/LayerHash.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

// Limits of files that are read whole.
constexpr uint64_t maxLibraryBytes = uint64_t(1) << 30, maxSourceBytes = uint64_t(16) << 20;

class StoredPackage {
public:
  // `path` is the package's folder, its share/NAME, also without the rest of the package, or its lib/libNAME.so or .a.
  static Result<StoredPackage> open(const std::string &path);
  // Whether open() would look at `path` at all: it finds a manifest.json there.
  static bool isOne(const std::string &path);

  const PackageManifest &manifest() const { return facts; }
  std::string shareFile(const std::string &name) const { return "share/" + facts.name + "/" + name; }
  std::string pathOf(const std::string &listed) const; // of a file that the manifest lists, on disk
  const std::string &folder() const { return name; }   // as the user named it, for messages

  // The bytes of a listed file, which have its hash.
  Result<std::string> read(const std::string &listed, uint64_t limit) const;

  // One line per listed file: "ok", or what is wrong with it. Never fails.
  struct FileState {
    std::string path, problem; // problem: empty if the file is there and has its hash
  };
  std::vector<FileState> states() const;

  // The spec and the functions that it applies; nullopt: the layer was written in the dialect. The identity of both
  // must be the manifest's.
  struct Source {
    std::string text; // of spec.json
    LayerSpec spec;
    FunctionTexts functions;
  };
  Result<std::optional<Source>> source() const;

  // Files below share/NAME/templates that the manifest does not list: a compilation would use them.
  Result<> refuseUnlistedTemplates() const;

  Diagnostic damaged(const std::string &why) const; // E-PACKAGE: package folder "pkg": why

private:
  std::string name, root, share; // share: the folder of manifest.json; root: two above, or empty if it is alone
  PackageManifest facts;
};

// `major` of "major.minor" is this runtime's. The error, E-PACKAGE, says what to do.
Result<> checkAbi(const StoredPackage &package);

} // namespace moec

#endif
