// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The empty shell of a kernel: an llvm.func with the signature of moec_kernel_fn and its arguments as values.

#ifndef MOEC_CODEGEN_LOWER_KERNELFUNCTION_H
#define MOEC_CODEGEN_LOWER_KERNELFUNCTION_H

#include "codegen/lower/Emitter.h"
#include "codegen/plan/StepArgs.h"

#include "mlir/IR/BuiltinOps.h"

namespace moec {

struct KernelFunction {
  mlir::LLVM::LLVMFuncOp function;
  mlir::Value call, args, scratch, first, last;

  // Creates the function at the end of `module` and leaves `e` in its entry block.
  KernelFunction(Emitter &e, mlir::ModuleOp module, llvm::StringRef symbol) {
    e.b.setInsertionPointToEnd(module.getBody());
    mlir::Type ptr = e.ptr(), i64 = e.i64();
    auto type =
        mlir::LLVM::LLVMFunctionType::get(mlir::LLVM::LLVMVoidType::get(e.b.getContext()), {ptr, ptr, ptr, i64, i64});
    function = mlir::LLVM::LLVMFuncOp::create(e.b, e.loc, symbol, type);
    e.function = function;
    mlir::Block *entry = function.addEntryBlock(e.b);
    e.b.setInsertionPointToStart(entry);
    call = entry->getArgument(0), args = entry->getArgument(1), scratch = entry->getArgument(2);
    first = entry->getArgument(3), last = entry->getArgument(4);
  }
  // The pointers of a step's buffers, loaded in their order.
  template <template <typename> class Args, typename T> Args<mlir::Value> bind(Emitter &e, const Args<T> &like) const {
    return mapArgs<mlir::Value>(
        numberArgs(like), [&](unsigned position) { return e.load(e.ptr(), e.at(args, 8 * int64_t(position)), 8); });
  }
  // Ends the function and expands elementary functions, because no kernel may call a math library.
  void finish(Emitter &e) const {
    mlir::LLVM::ReturnOp::create(e.b, e.loc, mlir::ValueRange{});
    expandMath(function, e.isa);
  }
};

} // namespace moec

#endif
