// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two runs of the reference per step, and everything that they chose.

#include "codegen/gradcheck/ReferenceSlopes.h"

#include "codegen/check/RandomTensors.h"

#include <algorithm>
#include <cmath>

namespace moec {

std::vector<double> normalNumbers(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  fillNormal(values.data(), DataType::F32, count, 0, 1, seed);
  return {values.begin(), values.end()};
}

double ReferenceSlopes::valueAt(std::vector<int64_t> &choices, double *size) {
  MemoryWeights weights;
  for (const Role &role : tensorsOf(*spec))
    if (auto found = tensors.find(role.name); found != tensors.end())
      weights.add(role, DataType::F64, found->second.data());
  inputs.weights = &weights;
  inputs.x = {{inputs.numTokens, spec->hidden}, tensors["x"]};
  for (auto &[name, tensor] : inputs.extra)
    if (auto found = tensors.find(name); found != tensors.end())
      tensor.data = found->second;
  Result<ReferenceOutputs> ran = runReference(*spec, inputs);
  inputs.weights = nullptr;
  if (!ran) {
    error = ran.error().message;
    return NAN;
  }
  choices = ran->ids;
  choices.insert(choices.end(), ran->kept.begin(), ran->kept.end());
  choices.insert(choices.end(), ran->expertTokens.begin(), ran->expertTokens.end());
  choices.insert(choices.end(), ran->routed.begin(), ran->routed.end());
  choices.insert(choices.end(), ran->counts.begin(), ran->counts.end());
  double sum = 0, magnitudes = 0;
  auto add = [&](double term) {
    sum += term;
    magnitudes += std::fabs(term);
  };
  for (size_t i = 0; i < dy.size(); ++i)
    add(dy[i] * ran->y[i]);
  for (size_t i = 0; i < coefficients.size(); ++i)
    add(coefficients[i] * ran->losses[i]);
  if (size)
    *size = magnitudes;
  return sum;
}

Slope ReferenceSlopes::along(const std::string &name, const std::vector<double> &direction,
                             const std::vector<double> &gradient) {
  std::vector<double> &values = tensors[name], before = values;
  std::vector<int64_t> base, high, low;
  Slope out;
  (void)valueAt(base, &out.value);
  for (size_t i = 0; i < gradient.size(); ++i) {
    out.found += direction[i] * gradient[i];
    out.size += std::fabs(direction[i] * gradient[i]);
  }
  auto at = [&](double h, std::vector<int64_t> &choices) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = before[i] + h * direction[i];
    return valueAt(choices);
  };
  out.steady = false;
  for (double step : {1e-5, 1e-6, 1e-7}) {
    double above = at(step, high), below = at(-step, low), wanted = (above - below) / (2 * step);
    if (base != high || base != low)
      continue;
    if (!out.steady || std::fabs(wanted - out.found) < std::fabs(out.wanted - out.found))
      out.wanted = wanted;
    out.steady = true;
  }
  std::copy(before.begin(), before.end(), values.begin());
  return out;
}

bool agrees(const Slope &slope, double relative) {
  double tolerance = relative * std::max(slope.size, std::fabs(slope.wanted)) + relative / 100 * (1 + slope.value);
  return !slope.steady || std::fabs(slope.found - slope.wanted) <= tolerance;
}

} // namespace moec
