// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLVM IR of kernels -> the same, tidied.

#ifndef MOEC_CODEGEN_LOWER_SHORTPIPELINE_H
#define MOEC_CODEGEN_LOWER_SHORTPIPELINE_H

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace moec {

// The lowering emits kernels nearly in final form. Further vectorising or unrolling by LLVM would cost compile time and
// registers, and results would depend on LLVM's version.
void runShortPipeline(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace moec

#endif
