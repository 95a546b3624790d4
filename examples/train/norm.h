// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// norm.h - RMSNorm: y = x / sqrt(mean(x^2) + 1e-5) * gain, token by token.
#ifndef TRAIN_NORM_H
#define TRAIN_NORM_H

#include "tensor.h"
#include "threads.h"

namespace train {

class RmsNorm {
public:
  RmsNorm(Threads &threads, const std::string &name, int64_t hidden);

  void forward(const real *x, int64_t tokens, real *y); // [T,H]; x must stay as it is until backward
  void backward(const real *grad_y, real *grad_x);      // adds to grad_x and to the gain's gradient

  Parameter gain;

private:
  Threads &threads;
  const real *input = nullptr;
  Values inverse; // 1 / sqrt(mean(x^2) + 1e-5) of each token
};

} // namespace train
#endif
