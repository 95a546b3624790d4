// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An entry of a stage's CUDA schedule -> the legal entries that compute the same bits, or all: what is ranked for its
// range of tokens.

#ifndef MOEC_CODEGEN_SEARCH_CUDACANDIDATES_H
#define MOEC_CODEGEN_SEARCH_CUDACANDIDATES_H

#include "codegen/schedule/CudaSchedule.h"

#include <string>
#include <vector>

namespace moec {

// Whether two kernels add the products of an output in one order: their templates multiply with the same instructions,
// mma or wgmma, rows or weights first, whose sums go through k in ascending order whatever the tile, and as many blocks
// share the depth.
bool haveSameCudaBits(const CudaEntry &a, const CudaEntry &b);

// All combinations of tile, depth of a step, stages, warps and consumers for each template, without the entry itself;
// `early`, `lag` and `vacant` stay as near to the entry's as is legal. `otherBits`: also entries with other bits. The
// entry is number `index` of `schedule`, which is legal.
std::vector<CudaEntry> cudaCandidates(const MatmulStage &stage, const CudaStage &schedule, size_t index, bool otherBits,
                                      const std::string &templatesDir);

} // namespace moec

#endif
