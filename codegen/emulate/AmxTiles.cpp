// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile instructions on 1 KiB arrays, element by element.

#include "codegen/emulate/AmxTiles.h"

#include <cmath>
#include <cstring>

static float flush(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value; }

static float bf16At(const void *tile, int64_t row, int64_t column) {
  uint16_t half;
  std::memcpy(&half, static_cast<const char *>(tile) + row * 64 + column * 2, 2);
  uint32_t bits = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return flush(value);
}

extern "C" {

void moec_emulate_tile_load(void *tile, const void *source, int64_t stride, int64_t rows) {
  std::memset(tile, 0, 1024);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(static_cast<char *>(tile) + r * 64, static_cast<const char *>(source) + r * stride, 64);
}

void moec_emulate_tile_store(const void *tile, void *target, int64_t stride, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(static_cast<char *>(target) + r * stride, static_cast<const char *>(tile) + r * 64, 64);
}

void moec_emulate_tile_product(void *acc, const void *a, const void *b, int64_t rows) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < 16; ++n) {
      float even = 0, odd = 0, sum;
      for (int64_t k = 0; k < 16; ++k) {
        even = flush(std::fma(bf16At(a, m, 2 * k), bf16At(b, k, 2 * n), even));
        odd = flush(std::fma(bf16At(a, m, 2 * k + 1), bf16At(b, k, 2 * n + 1), odd));
      }
      char *out = static_cast<char *>(acc) + m * 64 + n * 4;
      std::memcpy(&sum, out, 4);
      sum = flush(sum + flush(even + odd));
      std::memcpy(out, &sum, 4);
    }
}
}
