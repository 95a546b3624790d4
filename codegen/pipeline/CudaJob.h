// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kernels and launches of one CUDA target: made, lowered and assembled in a context and a thread of their own.

#ifndef MOEC_CODEGEN_PIPELINE_CUDAJOB_H
#define MOEC_CODEGEN_PIPELINE_CUDAJOB_H

#include "ObjectJob.h"

#include "codegen/cuda/CudaPlan.h"
#include "codegen/cuda/Ptxas.h"

#include <memory>
#include <optional>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace moec {

struct CudaJob {
  explicit CudaJob(CudaArch arch) : arch(arch) {}

  CudaArch arch;
  CudaTargetPlan plan;                        // images are numbered by the package
  std::unique_ptr<llvm::LLVMContext> context; // of `module`
  std::unique_ptr<llvm::Module> module;       // ObjectForm::Object with emulateCuda: what the emulator takes
  std::string text;                           // other forms: kernels before lowering, llvm dialect, PTX
  std::string ptx, cubin;                     // ObjectForm::Object: PTX with its NUL; cubin empty without ptxas
  std::vector<std::string> findings;          // of the gates (CudaGates.h)
  std::optional<Diagnostic> error;            // none: done

  // `ptxas` null: only PTX.
  void run(const ObjectInput &input, const Schedule &schedule, const Ptxas *ptxas);
};

} // namespace moec

#endif
