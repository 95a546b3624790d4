// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The region of a map, and the gradient of what it yields -> the gradient of one of its arguments, as scalar ops.

#ifndef MOEC_CODEGEN_GRAD_SCALARGRADIENT_H
#define MOEC_CODEGEN_GRAD_SCALARGRADIENT_H

#include "codegen/build/FunctionLibrary.h"
#include "codegen/build/ScalarOps.h"

namespace moec {

// Reverse mode on straight-line code:
//
//   a + b, a - b    d, d; d, -d               max(a,b), min(a,b)   d to the one that is taken; a where both are equal
//   a * b           d b, d a                  select(c, a, b)      d or 0, 0 or d
//   y = a / b       d/b, -(d/b) y             |a|                  d sign(a), 0 at 0
//   y = exp(a)      d y                       y = expm1(a)         d (y + 1)
//   log(a)          d/a                       log1p(a)             d / (1 + a)
//   y = tanh(a)     d (1 - y²)                erf(a)               d 2/sqrt(pi) exp(-a²)
//   y = sqrt(a)     d / (2 y)                 copysign(a, b)       d sign(a) sign(b)
//   f(a)            d f'(a), moe.apply        extf, truncf         d
//   gradient_of(value, a)   d
//
// Where d is 0, d / b is 0 for every b: what a mask leaves out has no gradient, whatever it was divided by.
// Where a limit is written as a comparison and a select, or as max or min, it passes the gradient where the value is
// inside or exactly on it. Integers and conversions between floats and integers have none. `d` is f32, and so is the
// result.
class ScalarGradient {
public:
  explicit ScalarGradient(ScalarOps ops, mlir::OpBuilder &builder) : ops(ops), builder(builder) {}

  // The region's body at the builder's place, with `arguments` for its arguments, then the gradient of argument `index`
  // where that of the yielded value is `d`. Null: it is 0 everywhere. Failure: an error was emitted on an op that has
  // no rule.
  mlir::FailureOr<mlir::Value> of(mlir::Region &region, mlir::ValueRange arguments, unsigned index, mlir::Value d);

private:
  mlir::Value quotient(mlir::Value d, mlir::Value b);      // d / b
  mlir::Value unlessZero(mlir::Value d, mlir::Value part); // `part`, a multiple of d; 0 where d is 0
  mlir::LogicalResult differentiate(mlir::Operation *op, mlir::Value d);
  void add(mlir::Value to, mlir::Value d);
  mlir::Value wide(mlir::Value value) { return ops.toF32(value); }

  ScalarOps ops;
  mlir::OpBuilder &builder;
  llvm::DenseSet<mlir::Value> moving; // that depend on the argument
  llvm::DenseMap<mlir::Value, mlir::Value> gradients;
};

} // namespace moec

#endif
