// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "adam.h"

#include <algorithm>

namespace train {

Adam::Adam(Threads &on, const Parameters &parameters, AdamOptions chosen) : threads(on), options(chosen) {
  for (Parameter *parameter : parameters)
    if (parameter->learned)
      states.push_back({parameter, Parameter("adam.first." + parameter->name, parameter->shape),
                        Parameter("adam.second." + parameter->name, parameter->shape)});
}

double Adam::step(double rate, double router_rate) {
  std::vector<double> squares(states.size());
  threads.run(static_cast<int64_t>(states.size()), [&](int64_t s, int) {
    const Parameter &parameter = *states[s].of;
    for (int64_t i = parameter.frozen; i < parameter.size(); ++i)
      squares[s] += double(parameter.gradient[i]) * double(parameter.gradient[i]);
  });
  double length = 0;
  for (double square : squares)
    length += square;
  length = std::sqrt(length);
  bool usable = std::isfinite(length);
  if (usable)
    ++steps;
  double scale = length > options.clip ? options.clip / length : 1;
  double correct1 = 1 - std::pow(options.beta1, double(steps)), correct2 = 1 - std::pow(options.beta2, double(steps));
  threads.run(static_cast<int64_t>(states.size()), [&](int64_t s, int) {
    Parameter &parameter = *states[s].of;
    real *m = states[s].first.value.data(), *v = states[s].second.value.data();
    real *x = parameter.value.data(), *g = parameter.gradient.data();
    real b1 = real(options.beta1), b2 = real(options.beta2), own_rate = real(parameter.router ? router_rate : rate);
    real decay = parameter.shape.size() > 1 ? own_rate * real(options.decay) : 0;
    real factor = real(scale), size = own_rate / real(correct1), root = real(1 / std::sqrt(correct2));
    real epsilon = real(options.epsilon);
    for (int64_t i = parameter.frozen; usable && i < parameter.size(); ++i) {
      real gradient = g[i] * factor;
      m[i] = b1 * m[i] + (1 - b1) * gradient;
      v[i] = b2 * v[i] + (1 - b2) * gradient * gradient;
      x[i] -= size * m[i] / (std::sqrt(v[i]) * root + epsilon) + decay * x[i];
    }
    std::fill(parameter.gradient.begin(), parameter.gradient.end(), real(0));
  });
  return length;
}

void Adam::forget(const Parameter &parameter, int64_t first, int64_t size) {
  for (State &state : states)
    if (state.of == &parameter)
      for (Parameter *moment : {&state.first, &state.second})
        std::fill_n(&moment->value[first], size, real(0));
}

Parameters Adam::moments() {
  Parameters all;
  for (State &state : states)
    for (Parameter *moment : {&state.first, &state.second})
      all.push_back(moment);
  return all;
}

} // namespace train
