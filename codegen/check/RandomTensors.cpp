// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Seeds in -> tensors out.

#include "codegen/check/RandomTensors.h"

#include "dsl/reference/ReferenceWeights.h"

#include <cmath>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace moec {

static constexpr size_t largePage = size_t(2) << 20;

PageBuffer::PageBuffer(size_t size) : bytes(size ? size : 1) {
  bool large = bytes >= largePage; // a layer may have thousands of small tensors
  mapped = bytes + (large ? largePage : 0);
  if (mapped < bytes) { // no machine has that much
    mapped = 0;
    return;
  }
  void *block = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) {
    mapped = 0;
    return;
  }
  mapping = pointer = block;
  if (!large)
    return;
  pointer = reinterpret_cast<void *>((reinterpret_cast<uintptr_t>(block) + largePage - 1) / largePage * largePage);
  madvise(pointer, bytes, MADV_HUGEPAGE);
}

PageBuffer::~PageBuffer() {
  if (mapping)
    munmap(mapping, mapped);
}

PageBuffer::PageBuffer(PageBuffer &&other) noexcept { *this = std::move(other); }

PageBuffer &PageBuffer::operator=(PageBuffer &&other) noexcept {
  std::swap(pointer, other.pointer);
  std::swap(mapping, other.mapping);
  std::swap(bytes, other.bytes);
  std::swap(mapped, other.mapped);
  return *this;
}

// splitmix64: value i depends on the seed and i alone.
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint16_t toBFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Finite values of f16's range; beneath 2^-14 the step is 2^-24.
static uint16_t toFloat16(double value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  value = std::fabs(value);
  if (value < 0x1p-14)
    return uint16_t(sign | uint16_t(std::nearbyint(value * 0x1p24)));
  int exponent;
  double mantissa = std::frexp(value, &exponent) * 2048; // 1024 .. 2048
  long rounded = std::lrint(mantissa);
  if (rounded == 2048) {
    rounded = 1024;
    ++exponent;
  }
  return exponent > 16 ? uint16_t(sign | 0x7bff) : uint16_t(sign | ((exponent + 14) << 10) | (rounded - 1024));
}

void storeElement(void *data, DataType type, int64_t index, double value) {
  switch (type) {
  case DataType::F32:
    static_cast<float *>(data)[index] = float(value);
    break;
  case DataType::BF16:
    static_cast<uint16_t *>(data)[index] = toBFloat16(float(value));
    break;
  case DataType::F16:
    static_cast<uint16_t *>(data)[index] = toFloat16(value);
    break;
  default:
    break;
  }
}

double loadElement(const void *data, DataType type, int64_t index) {
  switch (type) {
  case DataType::F32:
    return double(static_cast<const float *>(data)[index]);
  case DataType::BF16:
    return decodeBFloat16(static_cast<const uint16_t *>(data)[index]);
  case DataType::F16:
    return decodeFloat16(static_cast<const uint16_t *>(data)[index]);
  default:
    return std::nan("");
  }
}

void fillNormal(void *data, DataType type, int64_t count, double mean, double deviation, uint64_t seed) {
  // The sum of four uniform 16-bit numbers has mean 2*65535 and deviation 65536/sqrt(3).
  const float scale = float(deviation * std::sqrt(3.0) / 65536), offset = float(mean) - 131070.0f * scale;
  seed = mix(seed);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t r = mix(seed + uint64_t(i));
    float sum =
        float(uint32_t(r & 0xffff) + uint32_t(r >> 16 & 0xffff) + uint32_t(r >> 32 & 0xffff) + uint32_t(r >> 48));
    storeElement(data, type, i, double(sum * scale + offset));
  }
}

Distribution distributionOf(const Role &role) {
  if (role.matrix)
    return {0, 1 / std::sqrt(double(role.shape.back()))};
  bool factor = role.name == "router.temperature"; // a divisor of the logits
  for (const char *word : {"scale", "norm"})
    factor |= role.name.find(word) != std::string::npos;
  if (factor)
    return {1, 0.1};
  return {0, 0.1};
}

} // namespace moec
