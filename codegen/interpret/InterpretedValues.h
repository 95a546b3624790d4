// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What values of the moe dialect are while the interpreter runs, tensors of float64 and routes, and how they are
// rounded.

#ifndef MOEC_CODEGEN_INTERPRET_INTERPRETEDVALUES_H
#define MOEC_CODEGEN_INTERPRET_INTERPRETEDVALUES_H

#include "dsl/reference/ReferenceRounding.h"

#include "mlir/IR/Types.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace moec::interpret {

// How exactly values are computed.
struct Roundings {
  bool narrow = true;                  // conversions to bf16 and f16 round to nearest; false: they do nothing
  ReferenceRounding *errors = nullptr; // errors a kernel may make, drawn anew by every op; null: none

  double sum(double v, double lengthOfA, double lengthOfB, double count) const {
    return errors ? errors->sumOfProducts(v, lengthOfA, lengthOfB, count) : v;
  }
  // `v` as an element of `type` holds it: to nearest without errors, else half a step off.
  double stored(mlir::Type type, double v) const;
};

// The tables of !moe.route. rowChoice is the choice alone, whichever op made the route.
struct Route {
  int64_t groups = 0, choices = 0;
  std::vector<int64_t> offsets;             // [G+1]
  std::vector<int64_t> rowToken, rowChoice; // [R]
  std::vector<int64_t> slotRow;             // [T*K], -1: the slot has no row

  int64_t numRows() const { return int64_t(rowToken.size()); }
  int64_t groupOf(int64_t row) const;
};
using RouteRef = std::shared_ptr<const Route>;

// Elements in row-major order; integers are exact in a double, i1 is 0 or 1.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> data;
  RouteRef route;       // whose rows the first extent counts; null: tokens, or no rows at all
  bool rounded = false; // some value on the way here was rounded to bf16 or f16

  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t columns() const { return shape.size() < 2 ? 1 : shape.back(); }
  double at(int64_t row, int64_t column) const { return data[size_t(row * columns() + column)]; }
  double &at(int64_t row, int64_t column) { return data[size_t(row * columns() + column)]; }
};
using TensorRef = std::shared_ptr<const Tensor>;

// One SSA value: exactly one of the two is there.
struct Evaluated {
  TensorRef tensor;
  RouteRef route;
};

} // namespace moec::interpret

#endif
