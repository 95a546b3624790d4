// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A grouped_outer -> its units of work: blocks of a group's out[m,n].

#ifndef MOEC_CODEGEN_PLAN_OUTERBLOCKS_H
#define MOEC_CODEGEN_PLAN_OUTERBLOCKS_H

#include "llvm/Support/MathExtras.h"

#include <cstdint>

namespace moec {

// At most so many columns of A and of B.
struct OuterBlocks {
  int64_t a = 224, b = 512;

  // A unit packs the columns that it multiplies, and writes their part of a row of out at once. Blocks are wide where
  // groups alone keep the threads busy: columns of A are packed less often, and the parts are longer.
  static OuterBlocks of(int64_t groups) { return groups < 8 ? OuterBlocks{} : OuterBlocks{224, 1024}; }

  int64_t count(int64_t m, int64_t n) const { return int64_t(llvm::divideCeil(m, a) * llvm::divideCeil(n, b)); }
};

} // namespace moec

#endif
