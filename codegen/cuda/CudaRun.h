// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs: n consecutive elements that the 32 lanes of a warp walk together, lane l at elements l, l + 32, ...
//
// All lanes of the warp must take part: reductions exchange values through shuffles.

#ifndef MOEC_CODEGEN_CUDA_CUDARUN_H
#define MOEC_CODEGEN_CUDA_CUDARUN_H

#include "codegen/cuda/CudaEmitter.h"

namespace moec {

// Bytes of shared memory to hand out, lowest offset first. Offsets and sizes are multiples of 16.
class SharedRuns {
public:
  int64_t allocate(int64_t bytes);
  void release(int64_t offset);
  int64_t peak() const { return highest; }

private:
  llvm::SmallVector<std::pair<int64_t, int64_t>> used; // {offset, end}, ascending
  int64_t highest = 0;
};

class RunWalker {
public:
  using Values = CudaEmitter::Values;

  RunWalker(CudaEmitter &e) : e(e) {}
  mlir::Value lane; // i64, 0..31

  // Calls body with the columns of up to 4 elements of this lane at a time, so that it can load them all before it
  // uses the first.
  void forEach(int64_t count, llvm::function_ref<void(llvm::ArrayRef<mlir::Value> columns)> body);

  // acc = body(acc, columns, valid) over this lane's elements. `valid` is null except in the last step of a run whose
  // length is not a multiple of 32. In that step `columns` has one entry; lanes past the end get column 0 and valid
  // false.
  using Step = llvm::function_ref<Values(Values acc, llvm::ArrayRef<mlir::Value> columns, mlir::Value valid)>;
  Values fold(int64_t count, Values acc, Step body);

  // xs[i] = join over all lanes of xs[i]. Takes several independent values at a time so that their shuffles overlap.
  void joinLanes(llvm::MutableArrayRef<mlir::Value> xs, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> join);

  // The largest key over all lanes and its column, the lower column among equals; keys and columns i32.
  void largestOfLanes(llvm::MutableArrayRef<mlir::Value> keys, llvm::MutableArrayRef<mlir::Value> columns);
  // (key, column) if it beats (best, at), by a larger key or an equal one in a lower column
  void keepLarger(mlir::Value &best, mlir::Value &at, mlir::Value key, mlir::Value column);

private:
  CudaEmitter &e;
};

} // namespace moec

#endif
