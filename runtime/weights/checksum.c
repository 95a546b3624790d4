/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checksum.c - words -> sums; two sums -> the word that differs.
 */
#include "runtime/weights/checksum.h"

#include <string.h>

enum { LANES = 8 };

/* The inner sums of a block of rows of LANES words: a[l] = sum of w[r][l], b[l] = sum of r * w[r][l] is made from the
 * sums of all a[l] so far, as Fletcher does. */
moec_checksum moec_checksum_of(const void *bytes, uint64_t offset, uint64_t count) {
  const unsigned char *at = bytes;
  uint64_t rows = count / (4 * LANES), a[LANES] = {0}, b[LANES] = {0};
  moec_checksum out = {0, 0};
  for (uint64_t row = 0; row < rows; ++row, at += 4 * LANES) {
    uint32_t words[LANES];
    memcpy(words, at, sizeof(words));
    for (int lane = 0; lane < LANES; ++lane) {
      b[lane] += a[lane];
      a[lane] += words[lane];
    }
  }
  /* b[l] = sum of (rows - 1 - r) * w[r][l], and word (r, l) has the weight first + r * LANES + l */
  uint64_t first = offset / 4 + 1;
  for (uint64_t lane = 0; lane < LANES; ++lane) {
    out.sum += a[lane];
    out.weighted += (first + lane) * a[lane] + LANES * ((rows - 1) * a[lane] - b[lane]);
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
