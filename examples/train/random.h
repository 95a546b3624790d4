// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// random.h - numbers that depend on a seed, a purpose and a step only, so that a run that is resumed draws what the
// uninterrupted run would have drawn.
#ifndef TRAIN_RANDOM_H
#define TRAIN_RANDOM_H

#include <cmath>
#include <cstdint>

namespace train {

class Random {
public:
  explicit Random(uint64_t seed, uint64_t purpose = 0, uint64_t step = 0)
      : state(mix(mix(mix(seed) + purpose) + step)) {}

  uint64_t next() { return mix(state += 0x9e3779b97f4a7c15u); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; } // [0, 1)
  int64_t below(int64_t n) { return static_cast<int64_t>(uniform() * static_cast<double>(n)); }
  double normal() { // two uniform numbers make one normal one (Box and Muller)
    double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

private:
  static uint64_t mix(uint64_t x) { // the finalizer of SplitMix64
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
  }
  uint64_t state;
};

} // namespace train
#endif
