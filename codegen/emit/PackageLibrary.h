// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Object files of a compiled package -> the bytes of libNAME.a or libNAME.so.

#ifndef MOEC_CODEGEN_EMIT_PACKAGELIBRARY_H
#define MOEC_CODEGEN_EMIT_PACKAGELIBRARY_H

#include "codegen/emit/CompiledPackage.h"

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <string>

namespace moec {

// A GNU archive without times, owners or paths: equal objects give equal bytes. An error is E-INTERNAL.
Result<std::string> archiveBytes(const CompiledPackage &package);

// What a shared library holds and exports.
enum class LibraryContents {
  Kernels, // NAME_package; it needs the three memory functions of any C library
  Calls    // also the runtime, under hidden names, and __tvm_ffi_*: it works alone, and needs libc.so.6 of glibc 2.34
};

// Of the shared library in a package folder: calls, but kernels with a sanitizer, which is in the program that loads
// them, as is its runtime.
LibraryContents packageContents(const CompiledPackage &package);

// A shared library. Objects and the linker's files are written to `workDir`, which must exist; the caller removes it.
// Errors: E-TOOL; E-WRITE if the disk is full.
Result<std::string> sharedLibraryBytes(const CompiledPackage &package, LibraryContents contents,
                                       llvm::StringRef workDir);

// Absolute path of the linker that sharedLibraryBytes runs; empty if PATH has none.
std::string findLinker();
// The same, or E-TOOL.
Result<std::string> requireLinker();

} // namespace moec

#endif
