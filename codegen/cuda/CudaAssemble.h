#ifndef MOEC_CODEGEN_CUDA_CUDAASSEMBLE_H
#define MOEC_CODEGEN_CUDA_CUDAASSEMBLE_H
#include "mlir/IR/BuiltinOps.h"
#include <memory>
#include <string>
namespace llvm { class Module; class LLVMContext; }
namespace moec {
std::unique_ptr<llvm::Module> translateCuda(mlir::ModuleOp module, llvm::LLVMContext &context, std::string &error);
}
#endif
