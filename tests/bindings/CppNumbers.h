// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests of the C++ binding that train share.

#ifndef MOEC_TESTS_BINDINGS_CPPNUMBERS_H
#define MOEC_TESTS_BINDINGS_CPPNUMBERS_H

#include <moec.hpp>

#include <random>
#include <string>
#include <vector>

using Values = std::vector<float>;

// `count` numbers of [-1, 1], the same for the same seed.
inline Values numbers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Values values(count);
  for (float &value : values)
    value = static_cast<float>(random() % 2001) * 0.001f - 1;
  return values;
}

inline std::string messageOf(const moec::Result<void> &result) {
  return result ? "no error" : result.error().message();
}

#endif
