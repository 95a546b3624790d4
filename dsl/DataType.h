// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element types that a spec can name. Values are those of moec_dtype, which pins them.

#ifndef MOEC_DSL_DATATYPE_H
#define MOEC_DSL_DATATYPE_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace moec {

enum class DataType : uint8_t {
  F32 = 0,
  BF16 = 1,
  F16 = 2,
  I32 = 3,
  FP8E4M3 = 4,
  FP8E5M2 = 5,
  I8 = 6,
  I4 = 7,
  MXFP4 = 8,
  U8 = 9,
  I64 = 10,
  F64 = 11
};

std::string_view dataTypeName(DataType type);                 // "f32", "bf16", ...
std::optional<DataType> parseDataType(std::string_view name); // nullopt: not a type name
int dataTypeBits(DataType type);                              // bits of one element

} // namespace moec

#endif
