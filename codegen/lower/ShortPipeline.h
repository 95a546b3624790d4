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

// Kernels come out of the lowering nearly in final form: what LLVM would vectorise or unroll further costs compile time
// and registers, and makes bits depend on its version.
void runShortPipeline(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace moec

#endif
