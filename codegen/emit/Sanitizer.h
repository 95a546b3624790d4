// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An optimised LLVM module of kernels in -> the same kernels with every memory access reported to a sanitizer.

#ifndef MOEC_CODEGEN_EMIT_SANITIZER_H
#define MOEC_CODEGEN_EMIT_SANITIZER_H

#include "codegen/CompileOptions.h"

namespace llvm {
class Module;
}

namespace moec {

// Adds the checks in place. The module then needs the functions of libasan or libtsan, those of gcc or of clang.
void instrument(llvm::Module &module, Sanitizer sanitizer);

} // namespace moec

#endif
