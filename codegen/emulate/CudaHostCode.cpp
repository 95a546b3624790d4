// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLJIT with the emulator's entry points as absolute symbols; the module is optimised at -O1 before it is added.

#include "codegen/emulate/CudaHostCode.h"

#include "codegen/emulate/CudaMachine.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace llvm::orc;

namespace moec {

CudaHostCode::CudaHostCode() = default;
CudaHostCode::~CudaHostCode() = default;

const CudaHostKernel *CudaHostCode::find(StringRef name) const {
  for (const CudaHostKernel &kernel : kernels)
    if (kernel.kernel.name == name)
      return &kernel;
  return nullptr;
}

static void optimise(Module &module, TargetMachine &machine) {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graphs;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O1).run(module, modules);
}

static Error defineEntryPoints(LLJIT &jit) {
  MangleAndInterner mangle(jit.getExecutionSession(), jit.getDataLayout());
  SymbolMap symbols;
  auto add = [&](const char *name, auto *function) {
    symbols[mangle(name)] = {ExecutorAddr::fromPtr(function), JITSymbolFlags::Exported | JITSymbolFlags::Callable};
  };
  add("moec_emulate", moec_emulate);
  add("moec_emulate_shared_load", moec_emulate_shared_load);
  add("moec_emulate_shared_store", moec_emulate_shared_store);
  add("moec_emulate_shared_atomic", moec_emulate_shared_atomic);
  add("moec_emulate_global_load", moec_emulate_global_load);
  add("moec_emulate_global_store", moec_emulate_global_store);
  add("moec_emulate_pause", moec_emulate_pause);
  return jit.getMainJITDylib().define(absoluteSymbols(std::move(symbols)));
}

Expected<std::unique_ptr<CudaHostCode>> CudaHostCode::make(CudaHostModule host, std::unique_ptr<LLVMContext> context) {
  InitializeNativeTarget();
  InitializeNativeTargetAsmPrinter();
  auto target = JITTargetMachineBuilder::detectHost();
  if (!target)
    return target.takeError();
  auto machine = target->createTargetMachine();
  if (!machine)
    return machine.takeError();
  auto jit = LLJITBuilder().setJITTargetMachineBuilder(*target).create();
  if (!jit)
    return jit.takeError();
  if (Error error = defineEntryPoints(**jit))
    return std::move(error);
  host.module->setTargetTriple((*machine)->getTargetTriple());
  host.module->setDataLayout((*jit)->getDataLayout());
  optimise(*host.module, **machine);
  if (Error error =
          (*jit)->addIRModule(ThreadSafeModule(std::move(host.module), ThreadSafeContext(std::move(context)))))
    return std::move(error);
  std::unique_ptr<CudaHostCode> code(new CudaHostCode());
  for (CudaKernel &kernel : host.kernels) {
    auto address = (*jit)->lookup(kernel.thunk);
    if (!address)
      return address.takeError();
    code->kernels.push_back({std::move(kernel), address->toPtr<void (*)(void **)>()});
  }
  code->jit = std::move(*jit);
  code->instructions = std::move(host.instructions);
  return code;
}

} // namespace moec
