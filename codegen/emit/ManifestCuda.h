// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA part of a package -> its part of the manifest and of explain's JSON.

#ifndef MOEC_CODEGEN_EMIT_MANIFESTCUDA_H
#define MOEC_CODEGEN_EMIT_MANIFESTCUDA_H

#include "codegen/emit/CompiledPackage.h"

#include "llvm/Support/JSON.h"

namespace moec {

// The object's attributes: toolkit, math, packed bytes, and the targets of the forward pass.
void writeCudaManifest(const CompiledPackage &package, llvm::json::OStream &json);

// The targets of one pass with their images, tables and launches, and how a call's workspace follows from them. `name`,
// "forward" or "backward", is in every launch; steps and buffers are numbered as in the plan of `pass`. Registers,
// spill and local bytes of a launch are per thread, from ptxas, and absent without it.
void writeCudaPass(const CompiledPackage &pass, llvm::StringRef name, llvm::json::OStream &json);

} // namespace moec

#endif
