// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// safetensors files of the hand-written package's weights, in every storage form.

#ifndef MOEC_TESTS_RUNTIME_WEIGHTFILE_H
#define MOEC_TESTS_RUNTIME_WEIGHTFILE_H

#include "TinyLayer.h"

namespace moec {
namespace test {

// A safetensors file under construction.
struct FileWriter {
  std::string header, data;
  void add(const std::string &name, const std::vector<int64_t> &shape, const std::vector<float> &values,
           moec_dtype dtype = MOEC_F32);
  void write(const std::string &path) const;
};

// gate and up interleaved, input axis first: the storage the hand-written package names.
std::vector<float> gateUpEvenOdd(const TinyWeights &w);

std::vector<float> slice(const std::vector<float> &values, int64_t from, int64_t count);

// All weights, with experts.down stored as moec_stack, moec_axes and moec_part say; elements of the other part are
// 1e30.
FileWriter fileWithDown(const TinyWeights &w, int stack, int axes, int part, moec_dtype dtype);

} // namespace test
} // namespace moec

#endif
