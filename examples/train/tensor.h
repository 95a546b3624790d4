// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tensor.h - what a model learns: named arrays with their gradients. Matrices are row-major, [out, in].
#ifndef TRAIN_TENSOR_H
#define TRAIN_TENSOR_H

#include "random.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace train {

// float, in which moec computes. The tests of gradients compile the parts that are not moec with double.
#ifdef TRAIN_REAL
using real = TRAIN_REAL;
#else
using real = float;
#endif
using Values = std::vector<real>;

struct Parameter {
  std::string name; // in the checkpoint: "layers.1.attention.query.weight"
  std::vector<int64_t> shape;
  Values value, gradient; // gradient: backward adds to it
  bool router = false;    // takes the router's learning rate
  bool learned = true;    // false: no gradient; another rule changes it, or nothing
  int64_t frozen = 0;     // so many elements at the begin never change

  Parameter() = default;
  Parameter(std::string of, std::vector<int64_t> dims) : name(std::move(of)), shape(std::move(dims)) {
    int64_t count = 1;
    for (int64_t extent : shape)
      count *= extent;
    value.resize(static_cast<size_t>(count));
    gradient.resize(value.size());
  }
  int64_t size() const { return static_cast<int64_t>(value.size()); }
  void fill(real x) { value.assign(value.size(), x); }
  void draw(Random &random, double deviation) {
    for (real &v : value)
      v = static_cast<real>(deviation * random.normal());
  }
};

using Parameters = std::vector<Parameter *>;

inline real sigmoid(real x) { return 1 / (1 + std::exp(-x)); }
inline real silu(real x) { return x * sigmoid(x); }
inline real silu_derivative(real x) {
  real s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

} // namespace train
#endif
