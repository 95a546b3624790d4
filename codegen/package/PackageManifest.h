// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a package's manifest.json -> what programs that read packages need of it.
//
// The text is input: it may come from anywhere. Every name, path and hash has the form that moec writes, or the
// manifest is refused; numbers that describe memory are read from the package's plan, not from here.

#ifndef MOEC_CODEGEN_PACKAGE_PACKAGEMANIFEST_H
#define MOEC_CODEGEN_PACKAGE_PACKAGEMANIFEST_H

#include "codegen/PackageSources.h"

#include "dsl/text/Result.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct PackageManifest {
  std::string name, identity;                // identity: "spec_sha256", 64 hex digits
  std::string moecVersion, abi, llvmVersion; // "0.1.0", "1.0", "22.1.0"
  std::vector<std::string> cudaTargets;      // "sm_90a"
  std::string callsAbi;                      // "tvm-ffi 0.1"; "": the package exports no calls
  std::vector<std::string> calls;            // "forward"
  std::map<std::string, std::string> files;  // path in the package -> SHA-256, 64 hex digits

  // made_from, which an older package may lack; `source` is then empty
  struct Template {
    std::string hash;
    bool builtIn = true;
  };
  std::string source;  // "spec.json", "layer.mlir"
  std::string library; // "static", "shared", "both"
  PackageOptions options;
  std::map<std::string, Template> templates; // by path: "functions/silu.mlir"
  ScheduleOrigin schedule;                   // without its records, which are a file

  bool lists(const std::string &path) const { return files.count(path) != 0; }
};

constexpr size_t maxManifestBytes = size_t(16) << 20;

// The error is E-PACKAGE; its message has no file.
Result<PackageManifest> parseManifest(std::string_view text);

} // namespace moec

#endif
