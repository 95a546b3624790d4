// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dynamics.h"

#include <algorithm>

namespace train {

static constexpr int64_t UNITS = 64;
static constexpr real MOST_BETA = 2, MOST_VELOCITY = 10, STEP = real(0.1);

static real softplus(real x) { return std::max(x, real(0)) + std::log1p(std::exp(-std::abs(x))); }

Dynamics::Dynamics(Threads &on, const std::string &name, int64_t width)
    : controller_in(on, name + ".controller_in", 2 * width, UNITS, true),
      controller_out(on, name + ".controller_out", UNITS, 3 * width, true),
      projection(on, name + ".projection", width, width), mu(name + ".mu", {width}), threads(on), hidden(width) {}

void Dynamics::forward(real *h, real *v, int64_t count) {
  int64_t H = hidden;
  tokens = count;
  state.resize(count * 2 * H), before.resize(count * UNITS), units.resize(count * UNITS);
  control.resize(count * 3 * H), target.resize(count * H), free_velocity.resize(count * H);
  for (int64_t t = 0; t < count; ++t) {
    std::copy_n(h + t * H, H, &state[t * 2 * H]);
    std::copy_n(v + t * H, H, &state[t * 2 * H + H]);
  }
  controller_in.forward(state.data(), count, before.data());
  std::transform(before.begin(), before.end(), units.begin(), silu);
  controller_out.forward(units.data(), count, control.data());
  projection.forward(h, count, target.data());
  threads.run(count, [&](int64_t t, int) {
    for (int64_t i = 0; i < H; ++i) {
      const real *c = &control[t * 3 * H + i];
      real alpha = sigmoid(c[0]), beta = std::min(softplus(c[H]), MOST_BETA), gate = sigmoid(c[2 * H]);
      real &to = target[t * H + i], &x = h[t * H + i], &velocity = v[t * H + i];
      to += mu.value[i];
      real u = free_velocity[t * H + i] = alpha * velocity - beta * (x - to);
      velocity = std::clamp(u, -MOST_VELOCITY, MOST_VELOCITY);
      x += STEP * gate * velocity;
    }
  });
}

// With u = v' before its limits:  du = dv' + 0.1 g dh' within the limits, 0 outside;
// dalpha = du v,  dbeta = -du e,  dg = 0.1 v' dh',  de = -beta du,  dv = alpha du,  dh = dh' + de - P^T de.
void Dynamics::backward(real *grad_h, real *grad_v) {
  int64_t H = hidden;
  g_control.resize(control.size()), g_units.resize(units.size()), g_state.resize(state.size());
  g_target.resize(target.size());
  threads.run(tokens, [&](int64_t t, int) {
    for (int64_t i = 0; i < H; ++i) {
      const real *c = &control[t * 3 * H + i];
      real alpha = sigmoid(c[0]), soft = softplus(c[H]), beta = std::min(soft, MOST_BETA), gate = sigmoid(c[2 * H]);
      real old = state[t * 2 * H + H + i], e = state[t * 2 * H + i] - target[t * H + i];
      real u = free_velocity[t * H + i], velocity = std::clamp(u, -MOST_VELOCITY, MOST_VELOCITY);
      real &dh = grad_h[t * H + i], &dv = grad_v[t * H + i];
      real du = std::abs(u) <= MOST_VELOCITY ? dv + STEP * gate * dh : 0;
      real *dc = &g_control[t * 3 * H + i];
      dc[0] = du * old * alpha * (1 - alpha);
      dc[H] = soft < MOST_BETA ? -du * e * sigmoid(c[H]) : 0;
      dc[2 * H] = STEP * velocity * dh * gate * (1 - gate);
      g_target[t * H + i] = beta * du; // of mu + P h, which is -de
      dh -= beta * du;
      dv = alpha * du;
    }
  });
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < H; ++i)
      mu.gradient[i] += g_target[t * H + i];
  controller_out.backward(units.data(), g_control.data(), tokens, g_units.data(), false);
  for (size_t i = 0; i < g_units.size(); ++i)
    g_units[i] *= silu_derivative(before[i]);
  controller_in.backward(state.data(), g_units.data(), tokens, g_state.data(), false);
  Values h(tokens * H);
  for (int64_t t = 0; t < tokens; ++t) {
    std::copy_n(&state[t * 2 * H], H, &h[t * H]);
    for (int64_t i = 0; i < H; ++i) {
      grad_h[t * H + i] += g_state[t * 2 * H + i];
      grad_v[t * H + i] += g_state[t * 2 * H + H + i];
    }
  }
  projection.backward(h.data(), g_target.data(), tokens, grad_h, true);
}

void Dynamics::collect(Parameters &out) {
  for (Linear *part : {&controller_in, &controller_out, &projection})
    part->collect(out);
  out.push_back(&mu);
}

} // namespace train
