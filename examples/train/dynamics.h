// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// dynamics.h - the INL dynamics block: each token's h [H] moves with a velocity v [H] that the blocks hand on.
//
//     c = silu(W_in [h; v] + b_in)                       64 units
//     alpha, beta, g = sigmoid, min(softplus, 2), sigmoid of W_out c + b_out
//     e  = h - (mu + P h)                                distance from a learned target
//     v' = alpha v - beta e, kept within [-10, 10]
//     h' = h + 0.1 g v'
#ifndef TRAIN_DYNAMICS_H
#define TRAIN_DYNAMICS_H

#include "linear.h"

namespace train {

class Dynamics {
public:
  Dynamics(Threads &threads, const std::string &name, int64_t hidden);

  // h and v [T,H] are replaced by h' and v'.
  void forward(real *h, real *v, int64_t tokens);
  // The gradients of h' and v' are replaced by those of h and v.
  void backward(real *grad_h, real *grad_v);
  void collect(Parameters &out);

  Linear controller_in, controller_out, projection;
  Parameter mu;

private:
  Threads &threads;
  int64_t hidden, tokens = 0;
  // Of forward: [h; v], the controller's units before and behind silu, W_out c + b_out, mu + P h, and v' before limits.
  Values state, before, units, control, target, free_velocity;
  Values g_control, g_units, g_state, g_target;
};

} // namespace train
#endif
