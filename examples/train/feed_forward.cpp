// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "feed_forward.h"

namespace train {

DenseFeedForward::DenseFeedForward(Threads &on, const std::string &name, int64_t width, int64_t inside_width)
    : threads(on), hidden(width), inner(inside_width), gate(on, name + ".gate", width, inner),
      up(on, name + ".up", width, inner), down(on, name + ".down", inner, width) {}

void DenseFeedForward::forward(const real *x, int64_t count, real *y, const Routing &) {
  input = x;
  tokens = count;
  gates.resize(count * inner), ups.resize(count * inner), inside.resize(count * inner);
  gate.forward(x, count, gates.data());
  up.forward(x, count, ups.data());
  threads.run(count, [&](int64_t t, int) {
    for (int64_t i = t * inner; i < (t + 1) * inner; ++i)
      inside[i] = silu(gates[i]) * ups[i];
  });
  down.forward(inside.data(), count, y);
}

void DenseFeedForward::backward(const real *grad_y, real *grad_x) {
  g_inside.resize(inside.size());
  down.backward(inside.data(), grad_y, tokens, g_inside.data(), false);
  threads.run(tokens, [&](int64_t t, int) { // gates and ups become their gradients
    for (int64_t i = t * inner; i < (t + 1) * inner; ++i) {
      real g = gates[i];
      gates[i] = g_inside[i] * ups[i] * silu_derivative(g);
      ups[i] = g_inside[i] * silu(g);
    }
  });
  gate.backward(input, gates.data(), tokens, grad_x, false);
  up.backward(input, ups.data(), tokens, grad_x, true);
}

void DenseFeedForward::collect(Parameters &out) {
  for (Linear *part : {&gate, &up, &down})
    part->collect(out);
}

void DenseFeedForward::draw(Random &random, double output_factor) {
  gate.weight.draw(random, 1 / std::sqrt(double(hidden)));
  up.weight.draw(random, 1 / std::sqrt(double(hidden)));
  down.weight.draw(random, output_factor / std::sqrt(double(inner)));
}

} // namespace train
