// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Differences.h - a function of parameters and its gradient in -> the largest error of the gradient, against central
// differences in double.
#ifndef TESTS_TRAIN_DIFFERENCES_H
#define TESTS_TRAIN_DIFFERENCES_H

#include "examples/train/tensor.h"

#include <algorithm>
#include <functional>

namespace train {

// `loss` reads `values`; `gradient` is what backward says. Looks at up to `samples` elements, spread over all of them.
// The error of an element is relative to the largest difference that was seen.
inline double gradient_error(const std::function<double()> &loss, Values &values, const Values &gradient,
                             int64_t samples = 40) {
  double worst = 0, largest = 1e-3;
  int64_t size = static_cast<int64_t>(values.size()), stride = std::max<int64_t>(1, size / samples);
  for (int64_t i = 0; i < size; i += stride) {
    double step = 1e-5, kept = values[i];
    values[i] = kept + step;
    double above = loss();
    values[i] = kept - step;
    double below = loss();
    values[i] = kept;
    double difference = (above - below) / (2 * step);
    worst = std::max(worst, std::abs(difference - gradient[i]));
    largest = std::max(largest, std::abs(difference));
  }
  return worst / largest;
}

inline Values random_values(int64_t count, uint64_t seed, double deviation = 1) {
  Random random(seed);
  Values values(count);
  for (double &v : values)
    v = deviation * random.normal();
  return values;
}

inline double dot(const Values &a, const Values &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

} // namespace train
#endif
