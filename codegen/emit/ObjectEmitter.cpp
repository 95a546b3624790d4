// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR's llvm dialect to machine code. LLVM's own vectorisers stay off: kernels say themselves what a vector is, and a
// second opinion costs compile time and makes bits depend on the LLVM version.

#include "codegen/emit/ObjectEmitter.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/emit/SymbolCheck.h"
#include "codegen/lower/ShortPipeline.h"

#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

#include <mutex>

using namespace mlir;

namespace moec {

static constexpr const char *code = "E-INTERNAL";

Result<> lowerToLlvmDialect(ModuleOp module) {
  CapturedDiagnostics said(*module.getContext(), code);
  PassManager passes(module.getContext());
#ifdef NDEBUG
  passes.enableVerifier(false); // between these passes it would take a tenth of the time of a kernel
#endif
  passes.addPass(createCSEPass());
  passes.addPass(createLoopInvariantCodeMotionPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  if (failed(passes.run(module)))
    return said.takeJoined("the kernels do not lower to the llvm dialect");
  return {};
}

Result<std::unique_ptr<llvm::TargetMachine>> makeCpuMachine(const IsaFacts &isa) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string why;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, why);
  if (!target)
    return Diagnostic::error(code, why);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, isa.cpu, isa.features, options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

Result<Bytes> writeModule(llvm::Module &module, llvm::TargetMachine &machine, EmitForm form) {
  Bytes out;
  llvm::raw_svector_ostream os(out);
  if (form == EmitForm::LlvmIr) {
    module.print(os, nullptr);
    return out;
  }
  auto type = form == EmitForm::Object ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  llvm::legacy::PassManager codegen;
  if (machine.addPassesToEmitFile(codegen, os, nullptr, type))
    return Diagnostic::error(code, "the X86 back end cannot write this kind of file");
  codegen.run(module);
  return out;
}

Result<Bytes> emitModule(ModuleOp module, const IsaFacts &isa, EmitForm form, Sanitizer sanitizer) {
  auto made = makeCpuMachine(isa);
  if (!made)
    return made.takeError();
  llvm::TargetMachine &machine = **made;
  llvm::LLVMContext context;
  context.setDiscardValueNames(true); // objects do not hold the names of values and blocks
  std::unique_ptr<llvm::Module> llvmModule = translateModuleToLLVMIR(module, context, "moec");
  if (!llvmModule)
    return Diagnostic::error(code, "translation to LLVM IR failed");
  llvmModule->setTargetTriple(machine.getTargetTriple());
  llvmModule->setDataLayout(machine.createDataLayout());
  llvmModule->setPICLevel(llvm::PICLevel::BigPIC);
  for (llvm::Function &function : *llvmModule) {
    if (function.isDeclaration())
      continue;
    function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    function.addFnAttr("target-cpu", isa.cpu);
    function.addFnAttr("target-features", isa.features);
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoInline);
    function.addFnAttr(llvm::Attribute::NoUnwind);
    for (unsigned i = 0; i < 3 && i < function.arg_size(); ++i)
      function.addParamAttr(i, llvm::Attribute::NoAlias);
  }
  runShortPipeline(*llvmModule, machine);
  instrument(*llvmModule, sanitizer);
  Result<Bytes> out = writeModule(*llvmModule, machine, form);
  if (!out || form != EmitForm::Object)
    return out;
  if (Result<> checked = checkSymbols({out->data(), out->size()}, sanitizer); !checked)
    return checked.takeError();
  return out;
}

} // namespace moec
