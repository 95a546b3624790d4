/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checksum.c - words -> sums; two sums -> the word that differs.
 */
#include "runtime/weights/checksum.h"

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <string.h>

enum { LANES = 8 };

/* Sums over rows of LANES words, as Fletcher adds them up: a[l] of w[r][l], b[l] of (rows - 1 - r) * w[r][l]. */
typedef struct row_sums {
  uint64_t a[LANES], b[LANES];
} row_sums;

static inline __attribute__((always_inline)) row_sums sum_rows(const unsigned char *bytes, uint64_t rows) {
  row_sums sums = {{0}, {0}};
  for (uint64_t row = 0; row < rows; ++row, bytes += 4 * LANES) {
    uint32_t words[LANES];
    memcpy(words, bytes, sizeof(words));
    for (int lane = 0; lane < LANES; ++lane) {
      sums.b[lane] += sums.a[lane];
      sums.a[lane] += words[lane];
    }
  }
  return sums;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static row_sums sum_rows_avx2(const unsigned char *bytes, uint64_t rows) {
  return sum_rows(bytes, rows);
}
#endif

static row_sums sum_rows_here(const unsigned char *bytes, uint64_t rows) {
#if defined(__x86_64__)
  if (moec_cpu_isa() >= MOEC_ISA_AVX2)
    return sum_rows_avx2(bytes, rows);
#endif
  return sum_rows(bytes, rows);
}

moec_checksum moec_checksum_of(const void *bytes, uint64_t offset, uint64_t count) {
  const unsigned char *at = bytes;
  uint64_t rows = count / (4 * LANES);
  moec_checksum out = {0, 0};
  row_sums sums = sum_rows_here(at, rows);
  at += rows * 4 * LANES;
  /* word (r, l) has the weight first + r * LANES + l */
  uint64_t first = offset / 4 + 1;
  for (uint64_t lane = 0; lane < LANES; ++lane) {
    out.sum += sums.a[lane];
    out.weighted += (first + lane) * sums.a[lane] + LANES * ((rows - 1) * sums.a[lane] - sums.b[lane]);
  }
  first += rows * LANES;
  for (uint64_t left = count % (4 * LANES); left > 0; ++first) {
    uint32_t word = 0;
    size_t part = left < 4 ? (size_t)left : 4;
    memcpy(&word, at, part);
    out.sum += word;
    out.weighted += first * word;
    at += part;
    left -= part;
  }
  return out;
}

int64_t moec_checksum_place(moec_checksum want, moec_checksum have, uint64_t count) {
  uint64_t change = have.sum - want.sum, weighted = have.weighted - want.weighted;
  if (change > UINT64_MAX / 2) { /* the word became smaller */
    change = 0 - change;
    weighted = 0 - weighted;
  }
  if (change == 0 || change > UINT32_MAX || weighted % change != 0 || weighted / change > (count + 3) / 4 ||
      weighted < change)
    return -1;
  uint64_t byte = 4 * (weighted / change - 1);
  unsigned char mark[4];
  uint32_t word = (uint32_t)change;
  memcpy(mark, &word, sizeof(mark));
  for (unsigned i = 0; i < 4; ++i)
    if (mark[i] && !mark[(i + 1) % 4] && !mark[(i + 2) % 4] && !mark[(i + 3) % 4])
      return (int64_t)(byte + i);
  return (int64_t)byte;
}
