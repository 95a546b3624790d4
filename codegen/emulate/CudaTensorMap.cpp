// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks of a tensor map, after the CUDA driver API's description of cuTensorMapEncodeTiled.

#include "codegen/emulate/CudaTensorMap.h"

namespace moec {

uint32_t CudaTensorMap::boxBytes() const {
  uint32_t bytes = elementBytes;
  for (unsigned i = 0; i < rank; ++i)
    bytes *= box[i];
  return bytes;
}

std::string checkTensorMap(const CudaTensorMap &map) {
  if (map.rank < 1 || map.rank > 5)
    return "the rank is 1 to 5, found " + std::to_string(map.rank);
  if (map.base == 0 || map.base % 16)
    return "the address is a multiple of 16";
  for (unsigned i = 0; i < map.rank; ++i) {
    if (map.dims[i] == 0 || map.dims[i] > uint64_t(1) << 32)
      return "dimension " + std::to_string(i) + " is 1 to 2^32, found " + std::to_string(map.dims[i]);
    if (map.box[i] == 0 || map.box[i] > 256)
      return "box extent " + std::to_string(i) + " is 1 to 256, found " + std::to_string(map.box[i]);
  }
  for (unsigned i = 0; i + 1 < map.rank; ++i)
    if (map.strides[i] % 16 || map.strides[i] == 0 || map.strides[i] >= uint64_t(1) << 40)
      return "stride " + std::to_string(i) + " is a multiple of 16 below 2^40, found " + std::to_string(map.strides[i]);
  uint32_t inner = uint32_t(map.box[0]) * map.elementBytes;
  if (inner % 16)
    return "the box's inner extent is a multiple of 16 bytes, found " + std::to_string(inner);
  if (map.swizzleBytes && inner > map.swizzleBytes)
    return "the box's inner extent is at most the swizzle's " + std::to_string(map.swizzleBytes) + " bytes, found " +
           std::to_string(inner);
  return "";
}

} // namespace moec
