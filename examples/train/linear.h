// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// linear.h - y = x W^T + b, of T tokens at once.
#ifndef TRAIN_LINEAR_H
#define TRAIN_LINEAR_H

#include "matmul.h"

namespace train {

class Linear {
public:
  Linear(Threads &threads, const std::string &name, int64_t in, int64_t out, bool bias = false);

  void forward(const real *x, int64_t tokens, real *y); // x [T,in] -> y [T,out]
  // Adds to the gradients of weight and bias. grad_x [T,in] is overwritten, or added to; NULL: not computed.
  void backward(const real *x, const real *grad_y, int64_t tokens, real *grad_x, bool add);
  void collect(Parameters &out);

  Parameter weight, bias; // bias has no elements if there is none

private:
  Threads &threads;
  int64_t in, out;
};

} // namespace train
#endif
