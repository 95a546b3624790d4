// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A host module -> machine code in this process, with the kernels' thunks by name.

#ifndef MOEC_CODEGEN_EMULATE_CUDAHOSTCODE_H
#define MOEC_CODEGEN_EMULATE_CUDAHOSTCODE_H

#include "codegen/emulate/CudaHostModule.h"

#include <memory>

namespace llvm::orc {
class LLJIT;
}

namespace moec {

struct CudaHostKernel {
  CudaKernel kernel;
  void (*thunk)(void **params) = nullptr;
};

// Owns the code; thunks are valid as long as it lives.
class CudaHostCode {
public:
  // Compiles `host`, whose module lives in `context`. The device module must already be destroyed.
  static llvm::Expected<std::unique_ptr<CudaHostCode>> make(CudaHostModule host,
                                                            std::unique_ptr<llvm::LLVMContext> context);
  ~CudaHostCode();

  const CudaHostKernel *find(llvm::StringRef name) const; // null: no such kernel

private:
  CudaHostCode();

  std::unique_ptr<llvm::orc::LLJIT> jit;
  CudaInstructions instructions;
  std::vector<CudaHostKernel> kernels;
};

} // namespace moec

#endif
