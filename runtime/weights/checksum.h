/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checksum.h - bytes in -> two sums that tell whether and, for one changed word, where they changed.
 *
 *     sum = sum of w_i,    weighted = sum of (i + 1) * w_i    over 32-bit words w_i in the machine's order, modulo 2^64
 *
 * Sums of pieces add up, in any order. Up to 2^32 words every change of one or two words is found; of one word its
 * place, too, for both differences then have the quotient i + 1. Other changes pass with a probability of about 2^-64.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_CHECKSUM_H
#define MOEC_RUNTIME_WEIGHTS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_checksum {
  uint64_t sum, weighted;
} moec_checksum;

/* The part of `count` bytes that begin at byte `offset`, a multiple of 4. A last word is filled with zeros. */
moec_checksum moec_checksum_of(const void *bytes, uint64_t offset, uint64_t count);

static inline void moec_checksum_add(moec_checksum *to, moec_checksum part) {
  to->sum += part.sum;
  to->weighted += part.weighted;
}

/* The first byte of the only word, of `count` bytes, that makes `have` of `want`; -1: more than one word changed. If
 * one byte of it changed, it is that one. */
int64_t moec_checksum_place(moec_checksum want, moec_checksum have, uint64_t count);

#ifdef __cplusplus
}
#endif
#endif
