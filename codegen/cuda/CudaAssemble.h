// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An llvm-dialect module of CUDA kernels -> LLVM IR -> PTX.

#ifndef MOEC_CODEGEN_CUDA_CUDAASSEMBLE_H
#define MOEC_CODEGEN_CUDA_CUDAASSEMBLE_H

#include "codegen/Target.h"

#include "dsl/text/Result.h"

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace moec {

// The LLVM module that PTX is generated from and that the emulator runs. The context of `module` must have the NVVM
// translation. Errors are E-INTERNAL.
Result<std::unique_ptr<llvm::Module>> translateCuda(mlir::ModuleOp module, llvm::LLVMContext &context);

// PTX 8.0 for `arch`, without a NUL at the end. Multiplications and additions are fused only if the module fuses them,
// so that the emulator computes the same bits.
Result<std::string> emitPtx(llvm::Module &module, CudaArch arch);

} // namespace moec

#endif
