// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// matmul.h - the three products that linear maps need: of forward, of the input's gradient, of the weight's gradient.
// An element is always the same sum in the same order, whatever the number of threads.
#ifndef TRAIN_MATMUL_H
#define TRAIN_MATMUL_H

#include "tensor.h"
#include "threads.h"

namespace train {

// c[m,n] = a[m,k] b[k,n], or += with `add`. Rows of a, b and c begin every lda, ldb and ldc elements. One thread.
void product(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b, int64_t ldb, real *c,
             int64_t ldc, bool add);

// to[columns,rows] = from[rows,columns], transposed. `step`: elements from a row of `from` to the next.
void transpose(int64_t rows, int64_t columns, const real *from, int64_t step, real *to);

// c[m,n] = a[m,k] b[k,n], on all threads, no gaps between rows.
void multiply(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c, bool add);
// c[m,n] = a[m,k] b[n,k]^T
void multiply_by_transposed(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c,
                            bool add);
// c[m,n] = a[k,m]^T b[k,n]
void multiply_transposed(Threads &threads, int64_t m, int64_t n, int64_t k, const real *a, const real *b, real *c,
                         bool add);

} // namespace train
#endif
