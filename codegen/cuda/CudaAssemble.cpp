// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The short pipeline, then the NVPTX back end.

#include "codegen/cuda/CudaAssemble.h"

#include "codegen/lower/ShortPipeline.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

#include <mutex>

namespace moec {
namespace {

constexpr llvm::StringLiteral dataLayout = "e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64";

// Barriers, shuffles and matrix instructions mean all threads that reach them together: no pass may copy one into a
// branch or let two paths share one.
void markConvergent(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function))
      if (auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction))
        if (auto *text = llvm::dyn_cast<llvm::InlineAsm>(call->getCalledOperand()); text && text->hasSideEffects())
          call->setConvergent();
}

Result<std::unique_ptr<llvm::TargetMachine>> makeMachine(CudaArch arch) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string why;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, why);
  if (!target)
    return Diagnostic::error("E-INTERNAL", why);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, cudaArchFacts(arch).name, "+ptx80",
                                                                          options, std::nullopt, std::nullopt,
                                                                          llvm::CodeGenOptLevel::Aggressive));
}

} // namespace

Result<std::unique_ptr<llvm::Module>> translateCuda(mlir::ModuleOp module, llvm::LLVMContext &context) {
  std::unique_ptr<llvm::Module> translated = mlir::translateModuleToLLVMIR(module, context, "moec");
  if (!translated)
    return Diagnostic::error("E-INTERNAL", "translation to LLVM IR failed");
  translated->setTargetTriple(llvm::Triple("nvptx64-nvidia-cuda"));
  translated->setDataLayout(dataLayout);
  markConvergent(*translated);
  return translated;
}

Result<std::string> emitPtx(llvm::Module &module, CudaArch arch) {
  auto made = makeMachine(arch);
  if (!made)
    return made.takeError();
  llvm::TargetMachine &machine = **made;
  module.setDataLayout(machine.createDataLayout());
  runShortPipeline(module, machine);
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  llvm::legacy::PassManager codegen;
  if (machine.addPassesToEmitFile(codegen, os, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return Diagnostic::error("E-INTERNAL", "the NVPTX back end cannot write PTX");
  codegen.run(module);
  return text.str().str();
}

} // namespace moec
