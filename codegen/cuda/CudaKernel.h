// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The empty shell of a CUDA kernel: an llvm.func (i64 T, global pointers...) and the facts that a launch needs.

#ifndef MOEC_CODEGEN_CUDA_CUDAKERNEL_H
#define MOEC_CODEGEN_CUDA_CUDAKERNEL_H

#include "codegen/cuda/CudaArgs.h"
#include "codegen/cuda/CudaEmitter.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinOps.h"

namespace moec {

constexpr int64_t cudaMapAlign = 128; // of a TMA descriptor, as CUtensorMap of the driver's header has it

// grid = max(1, ceil((unitsPerToken * T + unitsPerSequence * B + unitsFixed) / unitsPerBlock)), one-dimensional.
struct CudaKernelFacts {
  int64_t blockThreads = 0, sharedBytes = 0, unitsPerBlock = 1, unitsPerToken = 1, unitsFixed = 0, unitsPerSequence = 0;
};

// Parameters: i64 num_tokens, then `pointers` pointers to global memory, then optionally i64 tokens of one sequence.
// The pointers listed in `maps` are replaced by TMA descriptors, 128 bytes by value. Pointers have no noalias
// attribute, so that no load becomes ld.global.nc, which ptxas may hoist above griddepcontrol.wait.
struct CudaKernelShell {
  mlir::LLVM::LLVMFuncOp function;
  mlir::Value numTokens;

  // Creates the function at the end of `module`. For sm 90 and later it also emits the wait for the predecessor, unless
  // the kernel `waitsItself`, and leaves `e` behind it. Loads the NVVM dialect into the context, so no other thread may
  // be using it.
  CudaKernelShell(CudaEmitter &e, mlir::ModuleOp module, llvm::StringRef symbol, size_t pointers, int64_t sm,
                  llvm::ArrayRef<size_t> maps = {}, bool sequence = false, bool waitsItself = false) {
    e.b.getContext()->getOrLoadDialect<mlir::NVVM::NVVMDialect>();
    e.b.setInsertionPointToEnd(module.getBody());
    llvm::SmallVector<mlir::Type> types(pointers + 1, e.globalPtr());
    types[0] = e.i64();
    for (size_t map : maps)
      types[map + 1] = e.ptr();
    if (sequence)
      types.push_back(e.i64());
    auto type = mlir::LLVM::LLVMFunctionType::get(mlir::LLVM::LLVMVoidType::get(e.b.getContext()), types);
    function = mlir::LLVM::LLVMFuncOp::create(e.b, e.loc, symbol, type);
    function->setAttr("nvvm.kernel", e.b.getUnitAttr());
    for (size_t map : maps) {
      auto bytes = mlir::LLVM::LLVMArrayType::get(e.b.getI8Type(), 128);
      function.setArgAttr(unsigned(map) + 1, "llvm.byval", mlir::TypeAttr::get(bytes));
      function.setArgAttr(unsigned(map) + 1, "llvm.align", e.b.getI64IntegerAttr(cudaMapAlign));
      function.setArgAttr(unsigned(map) + 1, "nvvm.grid_constant", e.b.getUnitAttr());
    }
    e.function = function;
    mlir::Block *entry = function.addEntryBlock(e.b);
    e.b.setInsertionPointToStart(entry);
    numTokens = entry->getArgument(0);
    if (sm >= 90 && !waitsItself)
      waitForPredecessor(e);
  }
  // Lets the next kernel start once all blocks of this one have started; it waits for this one's end itself. The wait
  // comes first: the next kernel's early work relies on the launch before this one having ended.
  static void waitForPredecessor(CudaEmitter &e) {
    e.gridWait();
    e.gridLaunch();
  }
  // The kernel's pointers by name, which are as many as `like` has.
  template <template <typename> class Args, typename T> Args<mlir::Value> bind(const Args<T> &like) {
    auto pointers = function.getBody().front().getArguments().drop_front();
    return mapArgs<mlir::Value>(numberArgs(like), [&](unsigned position) { return pointers[position]; });
  }
  mlir::Value sequence() { return function.getBody().front().getArguments().back(); }
  // Ends the function: exact block size, no math library.
  void finish(CudaEmitter &e, int64_t blockThreads) {
    mlir::LLVM::ReturnOp::create(e.b, e.loc, mlir::ValueRange{});
    function->setAttr("nvvm.reqntid", e.b.getDenseI32ArrayAttr({int32_t(blockThreads)}));
    // Only one block of 1024 threads fits a multiprocessor's registers; without a hint ptxas may spill to fit two.
    if (blockThreads == 1024)
      function->setAttr("nvvm.minctasm", e.b.getI32IntegerAttr(1));
    expandCudaMath(function);
  }
};

} // namespace moec

#endif
