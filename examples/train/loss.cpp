// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loss.h"

#include <algorithm>

namespace train {

// log of softmax(row / temperature), into `out` [V].
static void log_softmax(const real *row, int64_t vocabulary, double temperature, std::vector<double> &out) {
  double most = *std::max_element(row, row + vocabulary), sum = 0;
  for (int64_t i = 0; i < vocabulary; ++i)
    sum += std::exp(out[i] = (row[i] - most) / temperature);
  for (int64_t i = 0; i < vocabulary; ++i)
    out[i] -= std::log(sum);
}

double cross_entropy(const Values &logits, const int32_t *targets, int64_t vocabulary, Values *grad) {
  int64_t tokens = static_cast<int64_t>(logits.size()) / vocabulary;
  std::vector<double> log_p(vocabulary);
  double loss = 0, weight = 1 / double(tokens);
  if (grad)
    grad->resize(logits.size());
  for (int64_t t = 0; t < tokens; ++t) {
    log_softmax(&logits[t * vocabulary], vocabulary, 1, log_p);
    loss -= weight * log_p[targets[t]];
    for (int64_t i = 0; grad && i < vocabulary; ++i)
      (*grad)[t * vocabulary + i] = real(weight * (std::exp(log_p[i]) - (i == targets[t])));
  }
  return loss;
}

double distillation(const Values &logits, const int32_t *targets, const Values &teacher, int64_t vocabulary,
                    const Distillation &how, Values *grad) {
  double loss = (1 - how.share) * cross_entropy(logits, targets, vocabulary, grad);
  int64_t tokens = static_cast<int64_t>(logits.size()) / vocabulary;
  std::vector<double> own(vocabulary), wanted(vocabulary);
  double weight = how.share / double(tokens), T = how.temperature;
  for (int64_t t = 0; t < tokens; ++t) {
    log_softmax(&logits[t * vocabulary], vocabulary, T, own);
    log_softmax(&teacher[t * vocabulary], vocabulary, T, wanted);
    for (int64_t i = 0; i < vocabulary; ++i) {
      double p = std::exp(wanted[i]);
      loss += weight * T * T * p * (wanted[i] - own[i]);
      if (grad) {
        real &g = (*grad)[t * vocabulary + i];
        g = real((1 - how.share) * double(g) + weight * T * (std::exp(own[i]) - p));
      }
    }
  }
  return loss;
}

} // namespace train
