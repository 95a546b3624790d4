// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "norm.h"

namespace train {

static constexpr real EPSILON = static_cast<real>(1e-5);

RmsNorm::RmsNorm(Threads &on, const std::string &name, int64_t hidden) : gain(name + ".weight", {hidden}), threads(on) {
  gain.fill(1);
}

void RmsNorm::forward(const real *x, int64_t tokens, real *y) {
  int64_t hidden = gain.size();
  input = x;
  inverse.resize(static_cast<size_t>(tokens));
  threads.run(tokens, [&](int64_t t, int) {
    const real *row = x + t * hidden;
    real squares = 0;
    for (int64_t i = 0; i < hidden; ++i)
      squares += row[i] * row[i];
    inverse[t] = 1 / std::sqrt(squares / static_cast<real>(hidden) + EPSILON);
    for (int64_t i = 0; i < hidden; ++i)
      y[t * hidden + i] = row[i] * inverse[t] * gain.value[i];
  });
}

// With r = 1 / sqrt(mean(x^2) + eps) and u = gain * dy:  dx = r u - r^3 x <u, x> / H.
void RmsNorm::backward(const real *grad_y, real *grad_x) {
  int64_t hidden = gain.size(), tokens = static_cast<int64_t>(inverse.size());
  threads.run(tokens, [&](int64_t t, int) {
    const real *x = input + t * hidden, *dy = grad_y + t * hidden;
    real r = inverse[t], along = 0;
    for (int64_t i = 0; i < hidden; ++i)
      along += gain.value[i] * dy[i] * x[i];
    along *= r * r * r / static_cast<real>(hidden);
    for (int64_t i = 0; i < hidden; ++i)
      grad_x[t * hidden + i] += r * gain.value[i] * dy[i] - along * x[i];
  });
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < hidden; ++i)
      gain.gradient[i] += grad_y[t * hidden + i] * input[t * hidden + i] * inverse[t];
}

} // namespace train
