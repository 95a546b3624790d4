// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters in any storage -> rows in float64 for the oracle, decoded on use.
//
// Nothing is copied: for a 1 GB layer in bf16 the oracle decodes only the rows it touches.

#ifndef MOEC_DSL_REFERENCE_REFERENCEWEIGHTS_H
#define MOEC_DSL_REFERENCE_REFERENCEWEIGHTS_H

#include "dsl/LayerSpec.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moec {

// One matrix [rows, cols] = [out, in] in memory owned by others, which may be unaligned:
// element (r, c) is at data + (r*rowStride + c*colStride) * bytes of `type`.
// Types: f32, f64, bf16, f16, i32; their values are exact in float64.
struct MatrixView {
  const void *data = nullptr;
  DataType type = DataType::F32;
  int64_t rows = 0, cols = 0;
  int64_t rowStride = 0, colStride = 1; // in elements

  void row(int64_t r, double *out) const; // cols values
  double at(int64_t r, int64_t c) const;
};

bool isReferenceType(DataType type); // a type MatrixView decodes
double decodeBFloat16(uint16_t bits);
double decodeFloat16(uint16_t bits);

// Gives the oracle one matrix at a time, by role (as in rolesOf) and, for roles stacked by expert or shared block, by
// index of the expert or block. A vector is a matrix of one row; router.table is [vocab, k].
class ReferenceWeights {
public:
  virtual ~ReferenceWeights() = default;
  // nullopt: no such role or index. The view stays valid as long as this object.
  virtual std::optional<MatrixView> find(const std::string &role, int64_t index) const = 0;
};

// Whole tensors in memory, which stays the caller's.
class MemoryWeights : public ReferenceWeights {
public:
  // `data` holds role.shape in row-major order. A shape of three extents, or of two with an expert axis, is stacked;
  // one expert's part (tensorsOf) goes to the role it belongs to.
  void add(const Role &role, DataType type, const void *data);
  // One matrix of a role whose matrices lie apart or differ in size.
  void addMatrix(const std::string &role, int64_t index, const MatrixView &view) { views[{role, index}] = view; }

  std::optional<MatrixView> find(const std::string &role, int64_t index) const override;

private:
  std::map<std::pair<std::string, int64_t>, MatrixView> views;
};

} // namespace moec

#endif
