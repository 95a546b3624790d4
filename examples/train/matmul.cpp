// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "matmul.h"

#include <algorithm>

namespace train {

// R rows by W columns of c, whose sums the compiler keeps in vector registers.
template <int R, int W>
static void tile(int64_t k, const real *a, int64_t lda, const real *b, int64_t ldb, real *c, int64_t ldc, bool add) {
  real sum[R][W] = {};
  for (int64_t p = 0; p < k; ++p) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      real x = a[r * lda + p];
      for (int w = 0; w < W; ++w)
        sum[r][w] += x * b[p * ldb + w];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w)
      c[r * ldc + w] = add ? c[r * ldc + w] + sum[r][w] : sum[r][w];
}

template <int R>
static void row_block(int64_t n, int64_t k, const real *a, int64_t lda, const real *b, int64_t ldb, real *c,
                      int64_t ldc, bool add) {
  int64_t j = 0;
  for (; j + 32 <= n; j += 32)
    tile<R, 32>(k, a, lda, b + j, ldb, c + j, ldc, add);
  for (; j + 8 <= n; j += 8)
    tile<R, 8>(k, a, lda, b + j, ldb, c + j, ldc, add);
  for (; j < n; ++j)
    tile<R, 1>(k, a, lda, b + j, ldb, c + j, ldc, add);
}

void product(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b, int64_t ldb, real *c,
             int64_t ldc, bool add) {
  int64_t i = 0;
  for (; i + 6 <= m; i += 6)
    row_block<6>(n, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, add);
  for (; i + 2 <= m; i += 2)
    row_block<2>(n, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, add);
  for (; i < m; ++i)
    row_block<1>(n, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, add);
}

void transpose(int64_t rows, int64_t columns, const real *from, int64_t step, real *to) {
  constexpr int64_t block = 16; // squares that fit the first cache
  for (int64_t r0 = 0; r0 < rows; r0 += block)
    for (int64_t c0 = 0; c0 < columns; c0 += block)
      for (int64_t c = c0; c < std::min(c0 + block, columns); ++c)
        for (int64_t r = r0; r < std::min(r0 + block, rows); ++r)
          to[c * rows + r] = from[r * step + c];
}

void multiply(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c, bool add) {
  constexpr int64_t rows = 48; // of c that one thread takes at a time
  threads.run((m + rows - 1) / rows, [&](int64_t i, int) {
    int64_t first = i * rows, count = std::min(rows, m - first);
    product(count, n, k, a + first * k, k, b, n, c + first * n, n, add);
  });
}

// Transposing costs a pass over one operand and lets every product read and write whole rows.
void multiply_by_transposed(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c,
                            bool add) {
  static thread_local Values turned;
  turned.resize(static_cast<size_t>(n * k));
  transpose(n, k, b, k, turned.data());
  multiply(threads, m, n, k, a, turned.data(), c, add);
}

void multiply_transposed(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c,
                         bool add) {
  constexpr int64_t rows = 24;
  static thread_local Values turned; // of each worker
  threads.run((m + rows - 1) / rows, [&](int64_t i, int) {
    int64_t first = i * rows, count = std::min(rows, m - first);
    turned.resize(static_cast<size_t>(count * k));
    transpose(k, count, a + first, m, turned.data());
    product(count, n, k, turned.data(), k, b, n, c + first * n, n, add);
  });
}

} // namespace train
