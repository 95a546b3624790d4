// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An llvm::Module for nvptx64 -> a module for the host whose kernels CudaBlock can run.
//
// Address spaces disappear, @moec_shared becomes the arena's address, tagged instructions and shared accesses become
// calls (CudaHostCalls), and every kernel gets a thunk `void moec_thunk_<number>(void **params)` that unpacks
// parameters as cuLaunchKernel passes them: params[i] points at the value, for a tensor map at its 128 bytes.

#ifndef MOEC_CODEGEN_EMULATE_CUDAHOSTMODULE_H
#define MOEC_CODEGEN_EMULATE_CUDAHOSTMODULE_H

#include "codegen/emulate/CudaHostCalls.h"

#include <string>

namespace moec {

struct CudaKernel {
  std::string name, thunk;
  std::vector<uint32_t> paramBytes;
  uint32_t threads = 0; // nvvm.reqntid; 0 where the kernel does not say
};

struct CudaHostModule {
  std::unique_ptr<llvm::Module> module; // in the device module's context, no triple or data layout yet
  std::vector<CudaKernel> kernels;
  CudaInstructions instructions; // the code holds their addresses
};

// Modifies `device`. Errors name the function and what was found.
llvm::Expected<CudaHostModule> makeCudaHostModule(llvm::Module &device);

} // namespace moec

#endif
