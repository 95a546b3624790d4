// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of a package -> a folder on disk that appears whole or not at all.
//
// All files are written to DIR.tmp-XXXXXXXX beside DIR (codegen/StagingPath.h), synced, and renamed. An error or a
// destructor removes the staging folder; only the rename touches DIR.

#ifndef MOEC_CODEGEN_EMIT_PACKAGEFOLDER_H
#define MOEC_CODEGEN_EMIT_PACKAGEFOLDER_H

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <memory>
#include <string>
#include <vector>

namespace moec {

struct PackageFile {
  std::string path; // relative: "include/tiny.h"
  std::string bytes;
};

// Errors are E-EXISTS, E-SYMLINK and E-WRITE.
class PackageFolder {
public:
  enum class Existing { Refuse, Replace };

  // Whether a package may be written to `path`: nothing exists there and the nearest folder above it takes a new one,
  // or `existing` is Replace and `path` is a package to which nobody has added a file, or a folder without files.
  // Writes nothing.
  static Result<> check(llvm::StringRef path, Existing existing);

  // Checks as above and makes the staging folder.
  static Result<std::unique_ptr<PackageFolder>> stage(llvm::StringRef path, Existing existing);
  ~PackageFolder();

  const std::string &stagingPath() const { return staging; }
  // A folder inside the staging folder for intermediate files; commit() removes it.
  Result<std::string> workDir();

  Result<> write(const std::vector<PackageFile> &files);
  Result<> commit(); // the package is at `path` afterwards, or `path` is as before

private:
  PackageFolder() = default;
  std::string path, staging;
  Existing existing = Existing::Refuse;
  bool committed = false;
};

} // namespace moec

#endif
