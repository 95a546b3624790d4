// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element types: name <-> DataType, bits.

#include "dsl/DataType.h"

namespace moec {

namespace {
struct Row {
  DataType type;
  const char *name;
  int bits;
};
constexpr Row rows[] = {
    {DataType::F32, "f32", 32},
    {DataType::BF16, "bf16", 16},
    {DataType::F16, "f16", 16},
    {DataType::I32, "i32", 32},
    {DataType::FP8E4M3, "fp8_e4m3", 8},
    {DataType::FP8E5M2, "fp8_e5m2", 8},
    {DataType::I8, "i8", 8},
    {DataType::I4, "i4", 4},
    {DataType::MXFP4, "mxfp4", 4},
    {DataType::U8, "u8", 8},
    {DataType::I64, "i64", 64},
    {DataType::F64, "f64", 64},
};
} // namespace

std::string_view dataTypeName(DataType type) {
  for (const Row &row : rows)
    if (row.type == type)
      return row.name;
  return "?";
}

std::optional<DataType> parseDataType(std::string_view name) {
  for (const Row &row : rows)
    if (name == row.name)
      return row.type;
  return std::nullopt;
}

int dataTypeBits(DataType type) {
  for (const Row &row : rows)
    if (row.type == type)
      return row.bits;
  return 0;
}

} // namespace moec
