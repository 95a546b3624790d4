// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The bytes inside the program moec that a shared package is linked with (runtime/bindings/tvm_ffi/CMakeLists.txt).

#ifndef MOEC_CODEGEN_EMIT_EMBEDDEDRUNTIME_H
#define MOEC_CODEGEN_EMIT_EMBEDDEDRUNTIME_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

// An archive: the runtime and the functions __tvm_ffi_*, which call `moec_bound_package` for the package.
llvm::StringRef embeddedRuntimeArchive();

// What the archive exports, without the prefix __tvm_ffi_: "forward", ...
llvm::ArrayRef<llvm::StringLiteral> embeddedCalls();

// Shared libraries without code that define the names and versions of libc.so.6 and of the dynamic loader.
llvm::StringRef embeddedLibcStub();
llvm::StringRef embeddedLoaderStub();

} // namespace moec

#endif
