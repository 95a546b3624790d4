// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a grouped matmul multiplies and stores, beside its shapes: one value from the stage to the kernel. A tile.kernel
// has it as attributes, which its verifier checks (C5, C6).

#ifndef MOEC_CODEGEN_TILE_MATMULMODE_H
#define MOEC_CODEGEN_TILE_MATMULMODE_H

#include <cstdint>

namespace moec {

struct MatmulMode {
  bool routed = false;     // rows belong to groups of a route; else one group
  bool tf32 = false;       // CUDA: f32 operands may be rounded to tf32
  bool unordered = false;  // CUDA: rows are added to the sums of their tokens, in any order
  bool weighted = false;   // unordered, and times the weight of the row's slot
  bool joined = false;     // CUDA: the kernel computes a second stage too, of other buffers and without a route
  bool transposed = false; // CUDA: B is [k][n], as matrices are stored whose transpose is multiplied
  int64_t splitRows = 0;   // rows of a share's partial sums, where blocks may share the depth
};

} // namespace moec

#endif
