// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The loops behind CeilingProbe: arithmetic from registers, and reads of memory in the patterns a kernel could use.

#ifndef MOEC_CODEGEN_BENCH_CEILINGKERNELS_H
#define MOEC_CODEGEN_BENCH_CEILINGKERNELS_H

#include "Ceilings.h"

#include <cstddef>
#include <cstdint>

namespace moec {

// `n` turns of a loop; returns the FLOPs done. The machine must have the instruction set.
double arithmeticTurns(PeakKind kind, int64_t n);

// streams > 0: that many streams side by side, each prefetched 4 KiB ahead.
// streams = 0: one linear walk; the next block of `block` bytes is prefetched in 8 places at a time.
struct ReadPattern {
  int streams;
  size_t block;
  const char *text;
};
constexpr int numReadPatterns = 6;
extern const ReadPattern readPatterns[numReadPatterns];

// Reads all of [p, p + bytes); bytes is a multiple of 1 MiB. The result keeps the loads alive.
uint64_t readMemory(const uint8_t *p, size_t bytes, const ReadPattern &pattern);

} // namespace moec

#endif
