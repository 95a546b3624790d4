// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package that is to be made again -> the spec or layer in it, and the flags that made it.

#ifndef MOEC_CODEGEN_CLI_PACKAGEINPUT_H
#define MOEC_CODEGEN_CLI_PACKAGEINPUT_H

#include "CompileFlags.h"

#include "codegen/PackageSources.h"

#include <memory>
#include <string>

namespace moec {

struct PackageInput {
  std::string source;                           // share/NAME/spec.json or layer.mlir
  std::string library, sanitizer;               // --emit, --sanitize
  CompileFlags flags;                           // with the schedule and the templates of share/NAME
  std::shared_ptr<const ScheduleOrigin> origin; // of that schedule
};

// `path` is a package's folder or its share/NAME. Every file that is used has the hash of the manifest. Warns
// (W-PACKAGE) if this moec cannot make the same bytes. Prints errors and returns their exit code.
int loadPackageInput(Session &session, const std::string &path, PackageInput &out);

} // namespace moec

#endif
