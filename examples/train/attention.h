// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// attention.h - causal attention with rotary positions, in which groups of query heads share a head of keys and values.
#ifndef TRAIN_ATTENTION_H
#define TRAIN_ATTENTION_H

#include "linear.h"
#include "rope.h"

namespace train {

struct AttentionShape {
  int64_t hidden, heads, kv_heads, context; // heads: a multiple of kv_heads; hidden: of 2 * heads
};

class Attention {
public:
  Attention(Threads &threads, const std::string &name, AttentionShape shape);

  // x [B*S,H] -> y [B*S,H], B sequences of S <= context tokens. x must stay as it is until backward.
  void forward(const real *x, int64_t sequences, int64_t length, real *y);
  void backward(const real *grad_y, real *grad_x); // overwrites grad_x
  void collect(Parameters &out);

  Linear query, key, value, output;

private:
  Threads &threads;
  AttentionShape shape;
  int64_t width, shared; // of a head; query heads per head of keys and values
  Rope rope;
  const real *input = nullptr;
  int64_t sequences = 0, length = 0;
  Values q, k, v; // [B*S, heads*D], [B*S, kv_heads*D] twice
  Values share;   // [B, heads, S, S]: how much a token takes from each earlier one; rows sum to 1
  Values mixed;   // [B*S, heads*D]: weighted values
  Values gq, gk, gv, gmixed;
};

} // namespace train
#endif
