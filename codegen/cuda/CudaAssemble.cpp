#include "codegen/cuda/CudaAssemble.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/Module.h"
namespace moec {
std::unique_ptr<llvm::Module> translateCuda(mlir::ModuleOp module, llvm::LLVMContext &context, std::string &error) {
  auto m = mlir::translateModuleToLLVMIR(module, context, "kernels");
  if (!m) { error = "translation to LLVM IR failed"; return nullptr; }
  m->setDataLayout("e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64");
  return m;
}
}
