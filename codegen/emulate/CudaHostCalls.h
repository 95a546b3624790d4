// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device module -> the same module, in which calls into the emulator replace what the host lacks.
//
//   tagged inline assembly       moec_emulate(instruction, results, operands), one 8-byte slot per value
//   load, store, atomic on p3    preceded by moec_emulate_shared_load|store|atomic(address, bytes, align)
//   back edges of loops          moec_emulate_rounds counts down to a call of moec_emulate_pause()
//   bfloat <-> float             integer arithmetic, round to nearest even

#ifndef MOEC_CODEGEN_EMULATE_CUDAHOSTCALLS_H
#define MOEC_CODEGEN_EMULATE_CUDAHOSTCALLS_H

#include "codegen/emulate/CudaInstruction.h"

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <vector>

namespace moec {

using CudaInstructions = std::vector<std::unique_ptr<CudaInstruction>>;

// Rewrites every function of `module`. The code refers to the instructions appended to `out` by address.
// Errors name the function and the instruction text.
llvm::Error insertCudaHostCalls(llvm::Module &module, CudaInstructions &out);

} // namespace moec

#endif
