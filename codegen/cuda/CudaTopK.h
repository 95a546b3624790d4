// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A run of f32 -> the columns of its k largest elements, by a warp; and the description of a run in a row program.
//
// Selection compares integer keys that order like the values, so that every row gives k distinct ids, even with NaNs:
//
//     key(x) = bits(x + 0) with the low 31 bits of negative numbers flipped
//     NaN: INT_MIN + 1        already taken, or past the end: INT_MIN
//
// The largest key wins, the lower column among equals.

#ifndef MOEC_CODEGEN_CUDA_CUDATOPK_H
#define MOEC_CODEGEN_CUDA_CUDATOPK_H

#include "codegen/cuda/CudaRun.h"

namespace moec {

// A value of a row: a scalar (count 0), or `count` elements, element n at value + pitch * n.
struct RowRun {
  mlir::Value value;
  mlir::Type element;
  int64_t count = 0;
  int64_t pitch = 0;   // bytes from one element to the next
  int64_t offset = -1; // in the warp's shared memory; negative: not there
  int64_t align = 0;   // of the first element, in bytes
  int64_t stride = 0;  // of what a gather indexes: bytes from one row to the next
};

// i1 elements are i32 in memory.
mlir::Value loadElement(CudaEmitter &e, const RowRun &run, mlir::Value n);
void storeElement(CudaEmitter &e, const RowRun &run, mlir::Value n, mlir::Value x);

struct TopKShape {
  int64_t segments, length, k;
  int64_t perLane() const { return (length + cudaWarpThreads - 1) / cudaWarpThreads; }
  bool keysInRegisters() const { return perLane() <= 16; }
};

// ids[s*k + j] = column of the j-th largest of segment s of x. Written by lane 0.
void emitTopK(CudaEmitter &e, RunWalker &runs, const TopKShape &shape, const RowRun &x, const RowRun &ids);
// The same for segments of any length; `keys` is a run of i32 in shared memory as long as x.
void emitLongTopK(CudaEmitter &e, RunWalker &runs, const TopKShape &shape, const RowRun &x, const RowRun &keys,
                  const RowRun &ids);

} // namespace moec

#endif
