// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of cuTensorMapEncodeTiled -> the emulator's own 128-byte map, and where a box of it lies in memory.

#ifndef MOEC_CODEGEN_EMULATE_CUDATENSORMAP_H
#define MOEC_CODEGEN_EMULATE_CUDATENSORMAP_H

#include <cstdint>
#include <string>

namespace moec {

// A tensor of up to 5 dimensions, innermost first, and the box one instruction loads.
struct CudaTensorMap {
  uint64_t magic;
  uint64_t base;       // device address
  uint64_t dims[5];    // elements
  uint64_t strides[4]; // bytes, of dimensions 1 and up
  uint16_t box[5];     // elements
  uint8_t rank, elementBytes;
  uint8_t swizzleBytes; // 0, 32, 64 or 128
  uint8_t reserved[27];

  static constexpr uint64_t validMagic = 0x70616d726f736e74u; // marks a valid map

  uint32_t boxBytes() const; // what complete_tx counts, elements outside the tensor included
};
static_assert(sizeof(CudaTensorMap) == 128);

// The reason why the driver would refuse the map, or "": alignment of address and strides, sizes of the box, inner
// extent of the box within the swizzle span.
std::string checkTensorMap(const CudaTensorMap &map);

// Bits 4.. of a shared address as TMA and wgmma permute them: 16-byte chunks XORed with the row of the 128-byte line.
//   128: bits 4-6 ^= bits 7-9     64: bits 4-5 ^= bits 7-8     32: bit 4 ^= bit 7     0: unchanged
inline uint32_t swizzleAddress(uint32_t address, uint32_t swizzleBytes) {
  uint32_t mask = swizzleBytes == 128 ? 7 : swizzleBytes == 64 ? 3 : swizzleBytes == 32 ? 1 : 0;
  return address ^ ((address >> 7 & mask) << 4);
}

} // namespace moec

#endif
