// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CudaPlan: the structs of runtime/moec_cuda_abi.h while they are being filled, and the blob they become.

#ifndef MOEC_CODEGEN_CUDA_CUDAPLAN_H
#define MOEC_CODEGEN_CUDA_CUDAPLAN_H

#include "codegen/plan/LaunchPlan.h"
#include "runtime/moec_cuda_abi.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace moec {

// Registers and memory per thread that ptxas reports for a kernel.
struct CudaKernelCost {
  uint32_t registers = 0, spillBytes = 0, localBytes = 0;
};

struct CudaPlannedLaunch {
  moec_cuda_launch launch = {}; // symbol, first_param and num_params are serialize()'s
  std::string symbol;
  std::vector<moec_cuda_param> params;
};

struct CudaPlannedTable {
  moec_extent bytes = {0, 0, 0};
  std::string name;
};

// One target: launches in stream order, and the tables and maps that their parameters refer to.
struct CudaTargetPlan {
  uint32_t sm = 0, exact = 0, firstImage = 0, numImages = 0;
  std::vector<CudaPlannedLaunch> launches;
  std::vector<CudaPlannedTable> tables;
  std::vector<moec_cuda_map> maps;

  std::set<size_t> buffers() const; // indices of the launch plan's buffers that launches or maps use
  uint16_t addTable(moec_extent bytes, std::string name);
  // Fills registers, spill and local bytes of every launch whose kernel `costs` names.
  void setCosts(const std::map<std::string, CudaKernelCost> &costs);
};

struct CudaPlan {
  uint32_t cudaVersion = 0;         // 13000 for 13.0, 0: no ptxas
  std::vector<moec_weight> weights; // one per weight of the launch plan
  uint64_t packedBytes = 0;
  std::vector<CudaTargetPlan> targets; // best first

  std::vector<char> serialize() const; // the blob; equal plans have equal bytes
};

// Weights of `plan` in the layout CUDA kernels read: panels become rows. Matrices of backward, transposed or not,
// are those of forward where that has them. Sets `packedBytes`.
std::vector<moec_weight> cudaWeights(const LaunchPlan &plan, uint64_t &packedBytes);

// Elements from one row of B to the next: k rounded up to whole 16 bytes.
int64_t cudaPaddedDepth(int64_t k, int64_t elementBytes);

// Workspace bytes of the target's tables at T tokens, as the runtime counts them.
int64_t cudaTableBytes(const CudaTargetPlan &target, int64_t numTokens);

} // namespace moec

#endif
