// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package -> what it is, what it was made from, and what this machine does with it, for people and as JSON.

#ifndef MOEC_CODEGEN_PACKAGE_PACKAGEREPORT_H
#define MOEC_CODEGEN_PACKAGE_PACKAGEREPORT_H

#include "codegen/package/PlanTables.h"
#include "codegen/package/StoredPackage.h"

#include "dsl/text/JsonWriter.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

struct PackageFacts {
  // What becomes of an instruction set of the package here.
  struct IsaUse {
    std::string name, use; // "avx512_bf16", "taken"
  };
  struct CallSpace {
    int64_t tokens, bytes;
  };

  std::vector<StoredPackage::FileState> files;
  // The rest is known if the package's code could be loaded.
  std::optional<PlanTables> plan, backward;    // backward: of a layer that trains
  std::vector<IsaUse> isas;                    // highest first
  std::vector<std::string> reports;            // that calls may ask for
  std::vector<CallSpace> workspace;            // of one thread on the CPU
  std::vector<CallSpace> saved, backwardSpace; // of a layer that trains: moec_forward_args.saved, backward's workspace
  std::string cannotRun;                       // why this machine runs none of the instruction sets; empty: it does

  bool complete() const; // every file is as listed
};

// `package` is the stored one in this process, or null. Makes a layer of it to ask the runtime.
Result<PackageFacts> factsOf(const StoredPackage &stored, const moec_package *package);

std::string packageText(const StoredPackage &stored, const PackageFacts &facts);
void writePackageMembers(JsonWriter &json, const StoredPackage &stored, const PackageFacts &facts); // of an open object

// E-PACKAGE for each file that is not as listed.
std::vector<Diagnostic> fileErrors(const StoredPackage &stored, const PackageFacts &facts);

} // namespace moec

#endif
