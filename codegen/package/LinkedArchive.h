// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// libNAME.a of a package -> the package, callable in this process: a linker of this machine makes a shared library of
// it.

#ifndef MOEC_CODEGEN_PACKAGE_LINKEDARCHIVE_H
#define MOEC_CODEGEN_PACKAGE_LINKEDARCHIVE_H

#include "codegen/package/LoadedLibrary.h"

#include <memory>
#include <string>

namespace moec {

// In the order in which PATH is searched for them.
constexpr const char *linkerNames[] = {"ld.lld-22", "ld.lld", "ld"};

// `archive` holds the bytes of the archive. They and what the linker makes of them lie in a folder of $TMPDIR or /tmp,
// which is gone when this returns. Errors are those of codegen/ToolRun.h (no linker, or it failed),
// E-WRITE and E-PACKAGE.
Result<std::unique_ptr<LoadedLibrary>> linkArchive(const std::string &archive, const std::string &name);

} // namespace moec

#endif
