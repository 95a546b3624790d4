// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package folder as the SPEC argument of a verb -> the package as it is, and the layer in it.

#ifndef MOEC_CODEGEN_CLI_STOREDINPUT_H
#define MOEC_CODEGEN_CLI_STOREDINPUT_H

#include "CompileFlags.h"
#include "SpecInput.h"

#include "codegen/emulate/PackageOnDisk.h"

#include <memory>
#include <string>

namespace moec {

// `flags` must not ask for another package than the one that is there. Prints errors and returns their exit code.
int openStored(Session &session, const std::string &folder, const CompileFlags &flags,
               std::unique_ptr<PackageOnDisk> &out);

// Its spec, or the text of its layer, with the hash of the manifest.
int loadStored(Session &session, const PackageOnDisk &package, SpecInput &out);

} // namespace moec

#endif
