// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A seed -> weights and activations of a layer, the same on every machine.

#ifndef MOEC_CODEGEN_CHECK_RANDOMTENSORS_H
#define MOEC_CODEGEN_CHECK_RANDOMTENSORS_H

#include "dsl/DataType.h"
#include "dsl/LayerSpec.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace moec {

// Zero-filled pages from the system, large buffers 2 MiB aligned, freed by the destructor. data() is null if the
// allocation failed.
class PageBuffer {
public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);
  ~PageBuffer();
  PageBuffer(PageBuffer &&other) noexcept;
  PageBuffer &operator=(PageBuffer &&other) noexcept;

  void *data() const { return pointer; }
  size_t size() const { return bytes; }

private:
  void *pointer = nullptr;
  void *mapping = nullptr;
  size_t bytes = 0, mapped = 0;
};

// `count` near-normal values (sums of four uniform ones) of mean `mean` and deviation `deviation`, rounded to `type`
// (f32, bf16 or f16; nearest even).
void fillNormal(void *data, DataType type, int64_t count, double mean, double deviation, uint64_t seed);

// One value of such a tensor.
double loadElement(const void *data, DataType type, int64_t index);
void storeElement(void *data, DataType type, int64_t index, double value);

// Mean and deviation that keep a layer's values near 1: matrices 1/sqrt(in), scales about 1, biases small.
struct Distribution {
  double mean, deviation;
};
Distribution distributionOf(const Role &role);

} // namespace moec

#endif
