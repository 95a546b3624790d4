// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// 16-bit and tf32 elements -> f32, and the product of small f32 tiles, for the emulated matrix instructions.

#ifndef MOEC_CODEGEN_EMULATE_CUDAFLOATS_H
#define MOEC_CODEGEN_EMULATE_CUDAFLOATS_H

#include "codegen/emulate/CudaInstruction.h"

#include <cstdint>
#include <cstring>

namespace moec {

inline float floatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t bitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The 65,536 values of f16; built once, thread-safe.
const float *f16Values();

inline float elementToFloat(uint16_t bits, CudaElement type) {
  return type == CudaElement::Bf16 ? floatOfBits(uint32_t(bits) << 16) : f16Values()[bits];
}

// tf32 has 10 bits of mantissa; tensor cores ignore the other 13 bits of the register.
inline float tf32ToFloat(uint32_t bits) { return floatOfBits(bits & 0xFFFFE000u); }

// d[m][n] += sum over k < depth of a[m][k] b[k][n]; row-major, rows of d and b have `columns` floats, rows of a
// `depth`, a multiple of 4.
void multiplyTile(float *d, const float *a, const float *b, unsigned rows, unsigned columns, unsigned depth);

} // namespace moec

#endif
