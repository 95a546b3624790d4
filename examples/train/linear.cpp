// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "linear.h"

namespace train {

Linear::Linear(Threads &on, const std::string &name, int64_t inputs, int64_t outputs, bool with_bias)
    : weight(name + ".weight", {outputs, inputs}), bias(name + ".bias", {with_bias ? outputs : 0}), threads(on),
      in(inputs), out(outputs) {}

void Linear::forward(const real *x, int64_t tokens, real *y) {
  for (int64_t t = 0; bias.size() && t < tokens; ++t)
    for (int64_t o = 0; o < out; ++o)
      y[t * out + o] = bias.value[o];
  multiply_by_transposed(threads, tokens, out, in, x, weight.value.data(), y, bias.size() > 0);
}

void Linear::backward(const real *x, const real *grad_y, int64_t tokens, real *grad_x, bool add) {
  multiply_transposed(threads, out, in, tokens, grad_y, x, weight.gradient.data(), true);
  for (int64_t t = 0; bias.size() && t < tokens; ++t)
    for (int64_t o = 0; o < out; ++o)
      bias.gradient[o] += grad_y[t * out + o];
  if (grad_x)
    multiply(threads, tokens, in, out, grad_y, weight.value.data(), grad_x, add);
}

void Linear::collect(Parameters &to) {
  to.push_back(&weight);
  if (bias.size())
    to.push_back(&bias);
}

} // namespace train
