// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests of the C++ binding that train share.

#ifndef MOEC_TESTS_BINDINGS_CPPNUMBERS_H
#define MOEC_TESTS_BINDINGS_CPPNUMBERS_H

#include <moec.hpp>

#include <map>
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

// Weights of numbers, every role's from a seed of its own.
inline moec::Weights packedNumbers(const moec::Layer &layer) {
  std::map<std::string, Values> values;
  std::vector<moec::Tensor> list;
  unsigned seed = 3;
  for (const moec::Role &role : layer.roles()) {
    size_t count = 1;
    for (int64_t dim : role.dims)
      count *= static_cast<size_t>(dim);
    values[role.name] = numbers(count, seed++);
    list.emplace_back(role.name, values[role.name]);
  }
  return *layer.pack(list);
}

inline std::string messageOf(const moec::Result<void> &result) {
  return result ? "no error" : result.error().message();
}

#endif
