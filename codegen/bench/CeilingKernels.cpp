// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A number of turns or a piece of memory in -> work done out.
//
// NOTE: the arithmetic is inline assembly, because a compiler may fold, reorder or spill what intrinsics say; the point
// is exactly these instructions. Registers above xmm15 are not used, so that clobbers can be named without AVX-512.

#include "CeilingKernels.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moec {

const ReadPattern readPatterns[numReadPatterns] = {
    {1, 0, "1 stream, prefetch 4 KiB ahead"},
    {4, 0, "4 streams, prefetch 4 KiB ahead"},
    {8, 0, "8 streams, prefetch 4 KiB ahead"},
    {16, 0, "16 streams, prefetch 4 KiB ahead"},
    {0, 128 << 10, "one walk, next 128 KiB prefetched in 8 places"},
    {0, 32 << 10, "one walk, next 32 KiB prefetched in 8 places"},
};

#if defined(__x86_64__)

#define MOEC_CLOBBERS                                                                                                  \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13"

// Twelve independent accumulators: latency 4 times 2 ports needs eight. An instruction of two factors and a sum.
#define MOEC_ONE(NAME, R, I) NAME " %%" R "12, %%" R "13, %%" R #I "\n\t"
// clang-format off
#define MOEC_TWELVE(NAME, R) \
  MOEC_ONE(NAME, R, 0) MOEC_ONE(NAME, R, 1) MOEC_ONE(NAME, R, 2) MOEC_ONE(NAME, R, 3) \
  MOEC_ONE(NAME, R, 4) MOEC_ONE(NAME, R, 5) MOEC_ONE(NAME, R, 6) MOEC_ONE(NAME, R, 7) \
  MOEC_ONE(NAME, R, 8) MOEC_ONE(NAME, R, 9) MOEC_ONE(NAME, R, 10) MOEC_ONE(NAME, R, 11)
// clang-format on
#define MOEC_VECTOR_LOOP(FUNCTION, NAME, R)                                                                            \
  static void FUNCTION(int64_t n) {                                                                                    \
    __asm__ volatile("vpxor %%xmm12, %%xmm12, %%xmm12\n\tvpxor %%xmm13, %%xmm13, %%xmm13" ::: "xmm12", "xmm13");       \
    for (int64_t i = 0; i < n; ++i)                                                                                    \
      __asm__ volatile(MOEC_TWELVE(NAME, R)::: MOEC_CLOBBERS);                                                         \
    __asm__ volatile("vzeroupper" ::: MOEC_CLOBBERS);                                                                  \
  }

MOEC_VECTOR_LOOP(fmaAvx512, "vfmadd231ps", "zmm")
MOEC_VECTOR_LOOP(fmaAvx2, "vfmadd231ps", "ymm")
MOEC_VECTOR_LOOP(dotBf16, "vdpbf16ps", "zmm") // pairs of bf16
MOEC_VECTOR_LOOP(dotInt8, "vpdpbusd", "zmm")  // four int8

static void mulAddSse(int64_t n) {
  __asm__ volatile("xorps %%xmm12, %%xmm12\n\txorps %%xmm13, %%xmm13" ::: "xmm12", "xmm13");
  for (int64_t i = 0; i < n; ++i)
    __asm__ volatile(
        "mulps %%xmm12, %%xmm0\n\taddps %%xmm13, %%xmm1\n\tmulps %%xmm12, %%xmm2\n\taddps %%xmm13, %%xmm3\n\t"
        "mulps %%xmm12, %%xmm4\n\taddps %%xmm13, %%xmm5\n\tmulps %%xmm12, %%xmm6\n\taddps %%xmm13, %%xmm7\n\t"
        "mulps %%xmm12, %%xmm8\n\taddps %%xmm13, %%xmm9\n\tmulps %%xmm12, %%xmm10\n\taddps %%xmm13, %%xmm11" ::
            : MOEC_CLOBBERS);
}

// A 2 x 2 block of accumulators over two left and two right tiles, all 16 rows of 64 bytes.
static void configureTiles() {
  alignas(64) uint8_t config[64] = {1}; // palette 1
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  __asm__ volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3\n\t"
                   "tilezero %tmm4\n\ttilezero %tmm5\n\ttilezero %tmm6\n\ttilezero %tmm7");
}

#define MOEC_TILE_LOOP(FUNCTION, NAME)                                                                                 \
  static void FUNCTION(int64_t n) {                                                                                    \
    configureTiles();                                                                                                  \
    for (int64_t i = 0; i < n; ++i)                                                                                    \
      __asm__ volatile(NAME " %%tmm6, %%tmm4, %%tmm0\n\t" NAME " %%tmm7, %%tmm4, %%tmm1\n\t" NAME                      \
                            " %%tmm6, %%tmm5, %%tmm2\n\t" NAME " %%tmm7, %%tmm5, %%tmm3" ::                            \
                                : "memory");                                                                           \
    __asm__ volatile("tilerelease");                                                                                   \
  }

MOEC_TILE_LOOP(amxBf16, "tdpbf16ps")
MOEC_TILE_LOOP(amxInt8, "tdpbssd")

double arithmeticTurns(PeakKind kind, int64_t n) {
  switch (kind) {
  case PeakKind::AmxInt8:
    amxInt8(n);
    return double(n) * 4 * 2 * 16 * 16 * 64;
  case PeakKind::DotInt8:
    dotInt8(n);
    return double(n) * 12 * 2 * 64;
  case PeakKind::DotBf16:
    dotBf16(n);
    return double(n) * 12 * 2 * 32;
  case PeakKind::AmxBf16:
    amxBf16(n);
    return double(n) * 4 * 2 * 16 * 16 * 32;
  case PeakKind::FmaAvx512:
    fmaAvx512(n);
    return double(n) * 12 * 2 * 16;
  case PeakKind::FmaAvx2:
    fmaAvx2(n);
    return double(n) * 12 * 2 * 8;
  case PeakKind::MulAddSse:
    mulAddSse(n);
    return double(n) * 12 * 4;
  }
  return 0;
}

static inline void prefetch(const uint8_t *p) { _mm_prefetch(reinterpret_cast<const char *>(p), _MM_HINT_T0); }

// Four lines; the sum depends on every load.
static inline __m128i readLines(const uint8_t *p, __m128i sum) {
  const __m128i *v = reinterpret_cast<const __m128i *>(p);
  for (int i = 0; i < 16; ++i)
    sum = _mm_xor_si128(sum, _mm_load_si128(v + i));
  return sum;
}

static __m128i readStreams(const uint8_t *p, size_t bytes, size_t streams, __m128i sum) {
  const size_t part = bytes / streams, ahead = 4096;
  for (size_t i = 0; i < part; i += 256)
    for (size_t s = 0; s < streams; ++s) {
      const uint8_t *q = p + s * part + i;
      for (size_t line = 0; line < 256; line += 64)
        prefetch(q + ahead + line);
      sum = readLines(q, sum);
    }
  return sum;
}

// Eight places of the next block advance together while this block is read, 2 KiB of each per step.
static __m128i readBlockAhead(const uint8_t *p, size_t bytes, size_t block, __m128i sum) {
  for (size_t base = 0; base < bytes; base += block) {
    const uint8_t *next = p + (base + block < bytes ? base + block : base);
    for (size_t step = 0; step < block; step += 2048) {
      for (size_t place = 0; place < 8; ++place)
        for (size_t line = 0; line < 256; line += 64)
          prefetch(next + place * (block / 8) + step / 8 + line);
      for (size_t i = 0; i < 2048; i += 256)
        sum = readLines(p + base + step + i, sum);
    }
  }
  return sum;
}

uint64_t readMemory(const uint8_t *p, size_t bytes, const ReadPattern &pattern) {
  __m128i sum = _mm_setzero_si128();
  sum = pattern.streams ? readStreams(p, bytes, size_t(pattern.streams), sum)
                        : readBlockAhead(p, bytes, pattern.block, sum);
  return uint64_t(_mm_cvtsi128_si64(sum));
}

#else

double arithmeticTurns(PeakKind, int64_t n) {
  volatile float zero = 0;
  float sum[16] = {};
  for (int64_t i = 0; i < n; ++i)
    for (float &value : sum)
      value = value * zero + zero;
  zero = sum[0];
  return double(n) * 16 * 2;
}

uint64_t readMemory(const uint8_t *p, size_t bytes, const ReadPattern &) {
  uint64_t sum = 0, word;
  for (size_t i = 0; i < bytes; i += 8) {
    std::memcpy(&word, p + i, 8);
    sum ^= word;
  }
  return sum;
}

#endif

} // namespace moec
