// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// loss.h - logits and what they should say -> a loss in nats per token and the gradient of the logits.
#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include "tensor.h"

namespace train {

// Mean of -log softmax(logits)[target] over tokens. logits [T,V], targets [T]; grad [T,V] may be NULL.
double cross_entropy(const Values &logits, const int32_t *targets, int64_t vocabulary, Values *grad);

// (1 - share) * cross entropy + share * mean of temperature^2 * KL(teacher || student), both at `temperature`.
struct Distillation {
  double share = 0.7, temperature = 2;
};
double distillation(const Values &logits, const int32_t *targets, const Values &teacher, int64_t vocabulary,
                    const Distillation &how, Values *grad);

} // namespace train
#endif
