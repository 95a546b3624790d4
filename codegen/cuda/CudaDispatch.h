// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups and choices of a route in -> CUDA kernels that sort ids [T,K] into the route's tables and lists of row blocks.

#ifndef MOEC_CODEGEN_CUDA_CUDADISPATCH_H
#define MOEC_CODEGEN_CUDA_CUDADISPATCH_H

#include "codegen/cuda/CudaKernel.h"
#include "runtime/moec_abi.h"

#include <string>
#include <utility>
#include <vector>

namespace moec {

// The most groups whose counters fit a block's shared memory.
constexpr int64_t cudaDispatchMaxGroups = 4096;
// The most slots (T*K) that one block sorts alone.
constexpr int64_t cudaDispatchOneBlockSlots = 16384;

// The list for one block size, in rows. It is written in calls whose T lies in one of the ranges (both ends included),
// or in every call if there is no range.
struct CudaDispatchList {
  int64_t blockSize = 0;
  std::vector<std::pair<int64_t, int64_t>> tokens = {};
};

struct CudaDispatchShape {
  int64_t groups = 0, choices = 0; // 1 <= groups <= cudaDispatchMaxGroups
  std::vector<CudaDispatchList> lists;
  int64_t sm = 90;
};

struct CudaDispatchKernel {
  std::string symbol;
  CudaKernelFacts facts;
  int64_t minTokens = 0, maxTokens = INT64_MAX; // launched for min <= T <= max
};

moec_extent cudaDispatchTableBytes(const CudaDispatchShape &shape); // scratch between the kernels of one dispatch

// Every kernel has the parameters T, CudaDispatchArgs: `scratch` has cudaDispatchTableBytes, and there is one list
// (moec_cuda_item) per block size. Rows of a group are in ascending slot order; an id outside 0..G-1 makes no row and
// gets slot_row -1. T*K < 2^31. The result is the same on every run.
//
// In launch order:
//
//     SYMBOL_one                      T*K <= cudaDispatchOneBlockSlots
//     SYMBOL_count, _scan, _place     more
std::vector<CudaDispatchKernel> lowerCudaDispatch(const CudaDispatchShape &shape, mlir::Location loc,
                                                  mlir::ModuleOp module, llvm::StringRef symbol);

CudaDispatchArgs<unsigned> cudaDispatchArgs(const CudaDispatchShape &shape); // positions behind T

// Emits SYMBOL_one inside another kernel for calls of firstToken to lastToken tokens. All `threads` of the kernel take
// part, a multiple of 128 and at most 1024. It begins with a barrier of the block, so that it may read what the kernel
// wrote. Returns the bytes of shared memory that it uses, from offset 0.
int64_t emitCudaDispatch(CudaEmitter &e, CudaKernelShell &shell, const CudaDispatchShape &shape,
                         const CudaDispatchArgs<mlir::Value> &args, int64_t threads, int64_t firstToken,
                         int64_t lastToken);

// Bytes of the list for blocks of `blockSize` rows.
moec_extent cudaListBytes(int64_t groups, int64_t choices, int64_t blockSize);

// counts[g] = offsets[g+1] - offsets[g]; parameters T, CudaCountsArgs.
CudaKernelFacts lowerCudaCounts(int64_t groups, int64_t sm, mlir::Location loc, mlir::ModuleOp module,
                                llvm::StringRef symbol);

} // namespace moec

#endif
