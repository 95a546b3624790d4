// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AMX tile instructions as functions, so that the kernels of an AMX package can be checked on a machine without AMX.
//
// A tile is 16 rows of 64 bytes. For emulation CpuAmx emits calls to these functions instead of tileloadd, tilestored
// and tdpbf16ps; the rest of the kernel stays as it ships.

#ifndef MOEC_CODEGEN_EMULATE_AMXTILES_H
#define MOEC_CODEGEN_EMULATE_AMXTILES_H

#include <cstdint>

extern "C" {

// tile[r] = 64 bytes at source + r*stride for r < rows; the other rows are zero.
void moec_emulate_tile_load(void *tile, const void *source, int64_t stride, int64_t rows);

// 64 bytes at target + r*stride = tile[r] for r < rows.
void moec_emulate_tile_store(const void *tile, void *target, int64_t stride, int64_t rows);

// acc[m][n] += sum_k a[m][2k] b[k][2n] + sum_k a[m][2k+1] b[k][2n+1] in f32, even and odd k summed apart, denormal
// inputs and results as zero: the order and flushing Intel's reference gives for TDPBF16PS.
void moec_emulate_tile_product(void *acc, const void *a, const void *b, int64_t rows);
}

#endif
