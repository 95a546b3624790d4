// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA part of a package -> its part of the manifest and of explain's JSON.

#ifndef MOEC_CODEGEN_EMIT_MANIFESTCUDA_H
#define MOEC_CODEGEN_EMIT_MANIFESTCUDA_H

#include "codegen/emit/CompiledPackage.h"

#include "llvm/Support/JSON.h"

namespace moec {

// The object's attributes: toolkit, packed bytes, targets with their images, tables and launches. Registers, spill and
// local bytes of a launch are per thread, from ptxas, and absent without it.
void writeCudaManifest(const CompiledPackage &package, llvm::json::OStream &json);

} // namespace moec

#endif
