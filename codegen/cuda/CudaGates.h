// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A target's launches, its PTX and the messages of ptxas -> violations of the rules that every shipped kernel must
// keep.

#ifndef MOEC_CODEGEN_CUDA_CUDAGATES_H
#define MOEC_CODEGEN_CUDA_CUDAGATES_H

#include "codegen/Target.h"
#include "codegen/cuda/CudaPlan.h"

#include <string>
#include <vector>

namespace moec {

// One sentence per violation, "kernel NAME: found, allowed":
//
//     G1  no spills and no local memory: a kernel's state stays in registers
//     G2  registers * threads <= 65536, and shared memory <= the target's limit
//     G3  no message of ptxas: C75xx means that wgmma runs serialised
//     G4  no ld.global.nc: ptxas may hoist such a load above griddepcontrol.wait, where it would read data that the
//         previous kernel has not written yet
//
// Without ptxas G1 to G3 find nothing (registers 0, no messages).
std::vector<std::string> cudaGateFindings(const CudaTargetPlan &plan, CudaArch arch, llvm::StringRef ptx,
                                          const std::vector<std::string> &messages);

} // namespace moec

#endif
