// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element tables and the tile product, compiled for AVX2 too and chosen by what the machine has.

#include "codegen/emulate/CudaFloats.h"

#include <cmath>
#include <vector>

namespace moec {

static float f16ToFloat(uint32_t bits) {
  uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float sign = bits >> 15 ? -1.0f : 1.0f;
  if (exponent == 31)
    return floatOfBits((bits >> 15) << 31 | 0x7F800000u | mantissa << 13);
  return exponent ? sign * std::ldexp(float(1024 + mantissa), int(exponent) - 25)
                  : sign * std::ldexp(float(mantissa), -24);
}

const float *f16Values() {
  static const std::vector<float> values = [] {
    std::vector<float> all(65536);
    for (uint32_t bits = 0; bits < all.size(); ++bits)
      all[bits] = f16ToFloat(bits);
    return all;
  }();
  return values.data();
}

__attribute__((always_inline)) static inline void product(float *d, const float *a, const float *b, unsigned rows,
                                                          unsigned columns, unsigned depth) {
  for (unsigned m = 0; m < rows; ++m, d += columns, a += depth)
    for (unsigned k = 0; k < depth; k += 4) {
      const float *b0 = b + k * columns, *b1 = b0 + columns, *b2 = b1 + columns, *b3 = b2 + columns;
      for (unsigned n = 0; n < columns; ++n)
        d[n] = d[n] + a[k] * b0[n] + a[k + 1] * b1[n] + a[k + 2] * b2[n] + a[k + 3] * b3[n];
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void productAvx2(float *d, const float *a, const float *b, unsigned rows,
                                                            unsigned columns, unsigned depth) {
  product(d, a, b, rows, columns, depth);
}
#endif

void multiplyTile(float *d, const float *a, const float *b, unsigned rows, unsigned columns, unsigned depth) {
#if defined(__x86_64__)
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2)
    return productAvx2(d, a, b, rows, columns, depth);
#endif
  product(d, a, b, rows, columns, depth);
}

} // namespace moec
