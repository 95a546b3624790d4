// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A relocatable object in -> undefined symbols that a package must not have: all but the C library's three memory
// functions and the package's own names.

#ifndef MOEC_CODEGEN_EMIT_SYMBOLCHECK_H
#define MOEC_CODEGEN_EMIT_SYMBOLCHECK_H

#include "Sanitizer.h"

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

namespace moec {

// Allowed are memcpy, memmove, memset and moec_*; with a sanitizer also its __asan_* or __tsan_*. The error,
// E-INTERNAL, names the others, or says why the bytes are not an object.
Result<> checkSymbols(llvm::StringRef object, Sanitizer sanitizer);

} // namespace moec

#endif
