// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// rope.h - rotary position embedding: pairs (i, i + D/2) of a head's D values are rotated by position * 10000^(-2i/D).
#ifndef TRAIN_ROPE_H
#define TRAIN_ROPE_H

#include "tensor.h"

namespace train {

class Rope {
public:
  Rope(int64_t positions, int64_t head_width);

  // Rotates one head in place; a gradient is rotated backwards, because a rotation's transpose is its inverse.
  void rotate(real *head, int64_t position) const { turn(head, position, 1); }
  void rotate_back(real *head, int64_t position) const { turn(head, position, -1); }

private:
  void turn(real *head, int64_t position, real sign) const {
    const real *c = &cosine[position * half], *s = &sine[position * half];
    for (int64_t i = 0; i < half; ++i) {
      real a = head[i], b = head[i + half];
      head[i] = a * c[i] - sign * b * s[i];
      head[i + half] = b * c[i] + sign * a * s[i];
    }
  }
  int64_t half;
  Values cosine, sine; // [positions, D/2]
};

} // namespace train
#endif
