// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random numbers that are the same on every machine: SplitMix64.

#ifndef MOEC_CODEGEN_CHECK_RANDOMSOURCE_H
#define MOEC_CODEGEN_CHECK_RANDOMSOURCE_H

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace moec {

class RandomSource {
public:
  explicit RandomSource(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}

  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  int64_t in(int64_t low, int64_t high) { return low + int64_t(next() % uint64_t(high - low + 1)); }
  bool chance(int percent) { return in(1, 100) <= percent; }
  std::string of(std::initializer_list<const char *> words) { return words.begin()[in(0, int64_t(words.size()) - 1)]; }
  // 1..most, small values as likely as large ones, multiples of 8 and 16 now and then
  int64_t size(int64_t most) {
    int64_t value = in(1, chance(40) ? std::min<int64_t>(most, 24) : most);
    return chance(25) && value > 16 ? value / 16 * 16 : chance(15) && value > 8 ? value / 8 * 8 : value;
  }
  double unit() { return double(next() >> 40) / double(1 << 24); } // [0,1), exact in f32
  double normal() { return (unit() + unit() + unit() + unit() - 2) * 1.7320508075688772; }

private:
  uint64_t state;
};

} // namespace moec

#endif
