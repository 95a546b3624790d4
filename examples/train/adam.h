// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adam.h - AdamW: gradients in, parameters changed.
#ifndef TRAIN_ADAM_H
#define TRAIN_ADAM_H

#include "tensor.h"
#include "threads.h"

namespace train {

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
  double decay = 0.05; // of matrices: value -= rate * decay * value
  double clip = 1;     // most of the length of all gradients together
};

class Adam {
public:
  Adam(Threads &threads, const Parameters &parameters, AdamOptions options = {});

  // One step: clips, moves every learned parameter, sets gradients to zero. Routers take a rate of their own.
  // Returns the length of the gradients before clipping. A length that is not finite changes nothing.
  double step(double rate, double router_rate);

  // The moments of `size` elements from `first` on become zero, as for new parameters.
  void forget(const Parameter &parameter, int64_t first, int64_t size);

  // Moments as parameters, "adam.first.NAME" and "adam.second.NAME", for checkpoints.
  Parameters moments();
  int64_t steps = 0; // taken so far

private:
  struct State {
    Parameter *of;
    Parameter first, second;
  };
  Threads &threads;
  AdamOptions options;
  std::vector<State> states;
};

} // namespace train
#endif
