// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values moved by the largest error of a rounding, up or down by the bits of splitmix64.

#include "dsl/reference/ReferenceRounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moec {

static constexpr double unit = 0x1p-24; // of f32: half a step at 1

static uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool ReferenceRounding::up() {
  if (left == 0) {
    signs = mixed(state += 0x9e3779b97f4a7c15u);
    left = 64;
  }
  --left;
  bool bit = signs & 1;
  signs >>= 1;
  return bit;
}

// `precision` bits of significand; steps do not shrink beneath `least`. Equal values round alike, however many there
// are: a clamp, or an activation that saturates, makes many.
double ReferenceRounding::moved(double v, int precision, double least) {
  if (v == 0 || !std::isfinite(v))
    return v;
  uint64_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  bool above = mixed(bits + seed * 0x9e3779b97f4a7c15u) & 1;
  int exponent;
  std::frexp(v, &exponent);
  double step = std::max(std::ldexp(1.0, exponent - precision), least);
  double steps = v / step;
  if (steps == std::nearbyint(steps))
    return v;
  return above ? v + step / 2 : v - step / 2;
}

double ReferenceRounding::rounded(double v, DataType type) {
  switch (type) {
  case DataType::BF16:
    return moved(v, 8, 0x1p-133);
  case DataType::F16:
    return moved(v, 11, 0x1p-24);
  default:
    return moved(v, 24, 0x1p-149);
  }
}

double ReferenceRounding::roundedToTf32(double v) { return moved(v, 11, 0x1p-136); }

double ReferenceRounding::operation(double v, double size) {
  double error = unit * std::fabs(size);
  bool above = up();
  return std::isfinite(v) && std::isfinite(error) ? (above ? v + error : v - error) : v;
}

double ReferenceRounding::sumOfProducts(double v, double lengthOfA, double lengthOfB, double count) {
  return operation(v, lengthOfA * lengthOfB + std::sqrt(count) * std::fabs(v));
}

} // namespace moec
