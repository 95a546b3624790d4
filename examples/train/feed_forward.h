// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// feed_forward.h - the second half of a transformer block: x [T,H] -> y [T,H]. Dense here, a mixture of experts in
// moe_layer.h.
#ifndef TRAIN_FEED_FORWARD_H
#define TRAIN_FEED_FORWARD_H

#include "linear.h"
#include "routing.h"

#include <memory>

namespace train {

class FeedForward {
public:
  virtual ~FeedForward() = default;
  // x must stay as it is until backward.
  virtual void forward(const real *x, int64_t tokens, real *y, const Routing &routing) = 0;
  virtual void backward(const real *grad_y, real *grad_x) = 0; // overwrites grad_x, adds to parameters
  virtual void collect(Parameters &out) = 0;
  virtual void draw(Random &random, double output_factor) = 0; // first values of the parameters
  virtual void changed() {}                                    // the parameters have other values than before
};

// y = (silu(x G^T) * (x U^T)) D^T
class DenseFeedForward : public FeedForward {
public:
  DenseFeedForward(Threads &threads, const std::string &name, int64_t hidden, int64_t inner);
  void forward(const real *x, int64_t tokens, real *y, const Routing &routing) override;
  void backward(const real *grad_y, real *grad_x) override;
  void collect(Parameters &out) override;
  void draw(Random &random, double output_factor) override;

private:
  Threads &threads;
  int64_t hidden, inner, tokens = 0;
  Linear gate, up, down;
  const real *input = nullptr;
  Values gates, ups, inside, g_inside;
};

} // namespace train
#endif
