// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One part after the other, a barrier of the block between them: what one stored the next may read, and shared memory
// is free again.

#include "codegen/cuda/CudaFront.h"

#include "codegen/plan/StageArgs.h"

#include <algorithm>

using namespace mlir;

namespace moec {

// A warp for each of 16 tokens, and registers for the widest row programs.
static constexpr int64_t frontThreads = 512;
static constexpr int64_t mostRowBytes = 96 << 10; // of shared memory, for rows side by side

CudaKernelFacts lowerCudaFront(const CudaFrontShape &shape, ModuleOp module, StringRef symbol) {
  Operation *rows = shape.rows;
  CudaEmitter e(OpBuilder(rows->getContext()), rows->getLoc());
  int64_t sm = shape.dispatch.sm;
  CudaFrontArgs<unsigned> like = {std::nullopt, numberArgs(argsOf(shape.rows)), cudaDispatchArgs(shape.dispatch)};
  if (shape.split)
    like.split = cudaMatmulArgs(shape.split);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm);
  CudaFrontArgs<Value> args = shell.bind(like);
  if (shape.split) {
    emitCudaMatmulSums(e, shell, shape.split, sm, *args.split, frontThreads);
    e.barrier(0, frontThreads);
  }
  int64_t bytes = emitCudaRowProgram(e, shell, shape.rows, shape.strides, args.program, frontThreads, mostRowBytes);
  e.barrier(0, frontThreads);
  bytes = std::max(bytes, emitCudaDispatch(e, shell, shape.dispatch, args.dispatch, frontThreads, shape.firstToken,
                                           shape.lastToken));
  shell.finish(e, frontThreads);
  shell.function->setAttr("nvvm.minctasm", e.b.getI32IntegerAttr(1)); // one block runs: registers need not serve two
  return {frontThreads, bytes, 1, 0, 1};
}

} // namespace moec
