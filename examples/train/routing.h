// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// routing.h - what the layers of experts are told at each call beside x. The schedule changes it from step to step.
#ifndef TRAIN_ROUTING_H
#define TRAIN_ROUTING_H

#include <cstdint>

namespace train {

struct Routing {
  bool training = false;       // keep what backward needs
  int32_t top_k = 2;           // experts per token, at most those that the package was compiled for
  double capacity_factor = 0;  // places per expert are factor * T * top_k / E; 0: room for every token
  bool own_capacity = false;   // each layer takes its own factor, which follows its balance
  double noise = 0;            // standard deviation of what is added to the router's logits
  uint64_t seed = 0, step = 0; // of the noise
  float balance_coefficient = 0, z_coefficient = 0;
};

} // namespace train
#endif
