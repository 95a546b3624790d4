// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Stored elements -> float64: every f32, bf16 and f16 value is exact there.

#include "dsl/reference/ReferenceWeights.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace moec {

namespace {

template <typename T> T load(const void *address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

double decode(const unsigned char *p, DataType type) {
  switch (type) {
  case DataType::F32:
    return load<float>(p);
  case DataType::F64:
    return load<double>(p);
  case DataType::BF16:
    return decodeBFloat16(load<uint16_t>(p));
  case DataType::F16:
    return decodeFloat16(load<uint16_t>(p));
  case DataType::I32:
    return load<int32_t>(p);
  default:
    return std::numeric_limits<double>::quiet_NaN();
  }
}

} // namespace

bool isReferenceType(DataType type) {
  return type == DataType::F32 || type == DataType::F64 || type == DataType::BF16 || type == DataType::F16 ||
         type == DataType::I32;
}

// bf16 is the upper half of an f32.
double decodeBFloat16(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  return load<float>(&wide);
}

// (-1)^s · 2^(e-15) · (1 + m/1024); e = 0: 2^-14 · m/1024; e = 31: infinity or NaN.
double decodeFloat16(uint16_t bits) {
  int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double value = exponent == 0    ? std::ldexp(mantissa, -24)
                 : exponent != 31 ? std::ldexp(1024 + mantissa, exponent - 25)
                 : mantissa == 0  ? std::numeric_limits<double>::infinity()
                                  : std::numeric_limits<double>::quiet_NaN();
  return bits & 0x8000 ? -value : value;
}

double MatrixView::at(int64_t r, int64_t c) const {
  int64_t bytes = dataTypeBits(type) / 8;
  return decode(static_cast<const unsigned char *>(data) + (r * rowStride + c * colStride) * bytes, type);
}

void MatrixView::row(int64_t r, double *out) const {
  int64_t bytes = dataTypeBits(type) / 8, step = colStride * bytes;
  const unsigned char *p = static_cast<const unsigned char *>(data) + r * rowStride * bytes;
  // NOTE: one loop per common type: the oracle spends half its time here on layers of full size.
  if (type == DataType::BF16)
    for (int64_t c = 0; c < cols; ++c)
      out[c] = decodeBFloat16(load<uint16_t>(p + c * step));
  else if (type == DataType::F32)
    for (int64_t c = 0; c < cols; ++c)
      out[c] = load<float>(p + c * step);
  else
    for (int64_t c = 0; c < cols; ++c)
      out[c] = decode(p + c * step, type);
}

void MemoryWeights::add(const Role &role, DataType type, const void *data) {
  bool stacked = role.expertAxis || role.shape.size() == 3;
  size_t first = stacked ? 1 : 0;
  int64_t count = stacked ? role.shape[0] : 1;
  MatrixView view;
  view.type = type;
  view.cols = role.shape.back();
  view.rows = role.shape.size() - first == 2 ? role.shape[first] : 1;
  view.rowStride = view.cols;
  if (role.expert >= 0) {
    view.data = data;
    return addMatrix(role.stackedName, role.expert, view);
  }
  int64_t bytes = view.rows * view.cols * (dataTypeBits(type) / 8);
  for (int64_t i = 0; i < count; ++i) {
    view.data = static_cast<const unsigned char *>(data) + i * bytes;
    addMatrix(role.name, i, view);
  }
}

std::optional<MatrixView> MemoryWeights::find(const std::string &role, int64_t index) const {
  auto it = views.find({role, index});
  if (it == views.end())
    return std::nullopt;
  return it->second;
}

} // namespace moec
