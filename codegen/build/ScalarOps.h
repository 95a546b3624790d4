// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scalars -> one arith or math op each, at the builder's place: the formulas inside a map's body.

#ifndef MOEC_CODEGEN_BUILD_SCALAROPS_H
#define MOEC_CODEGEN_BUILD_SCALAROPS_H

#include "codegen/build/FunctionUses.h"

#include "mlir/IR/Builders.h"

#include <limits>

namespace moec {

// A small value: copies share the builder and its place, so that a copy may be used inside another's map. Builders of a
// layer's parts derive from RowOps privately, so that their formulas read without a prefix; they share no other state.
class ScalarOps {
public:
  // Both must outlive the object and its copies.
  ScalarOps(mlir::OpBuilder &builder, FunctionUses &functions)
      : builder(builder), loc(builder.getUnknownLoc()), functions(functions) {}

  static constexpr double negInf = -std::numeric_limits<double>::infinity();

  mlir::Type f32() { return builder.getF32Type(); }
  mlir::Type i32() { return builder.getI32Type(); }

  // f32
  mlir::Value number(double value);
  mlir::Value toF32(mlir::Value value);                    // from any float type
  mlir::Value fromF32(mlir::Value value, mlir::Type type); // rounded to `type`
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value subtract(mlir::Value a, mlir::Value b);
  mlir::Value multiply(mlir::Value a, mlir::Value b);
  mlir::Value divide(mlir::Value a, mlir::Value b);
  mlir::Value scaled(mlir::Value a, double factor); // a itself for factor 1
  mlir::Value atMost(mlir::Value a, double limit);  // NaN stays NaN
  mlir::Value atLeast(mlir::Value a, double limit);
  mlir::Value squareRoot(mlir::Value a);
  mlir::Value softCapped(mlir::Value a, double cap);   // cap·tanh(a/cap)
  mlir::Value isGreater(mlir::Value a, mlir::Value b); // false for NaN
  mlir::Value isZero(mlir::Value a);
  mlir::Value apply(llvm::StringRef function, const char *key, mlir::Value x); // FunctionUses.h
  mlir::Value withGradientOf(mlir::Value value, mlir::Value of);               // `value` if nothing is differentiated
  bool differentiated() const { return functions.differentiated(); }

  // i32
  mlir::Value integer(int32_t value);
  mlir::Value plus(mlir::Value a, int32_t b);
  mlir::Value times(mlir::Value a, int32_t b);
  mlir::Value quotient(mlir::Value a, int32_t b); // a >= 0
  mlir::Value remainder(mlir::Value a, int32_t b);
  mlir::Value equal(mlir::Value a, int32_t b);
  mlir::Value equal(mlir::Value a, mlir::Value b);
  mlir::Value isLess(mlir::Value a, mlir::Value b);
  mlir::Value isIndex(mlir::Value id, int64_t count); // 0 <= id < count
  mlir::Value isChosen(mlir::Value id);               // id >= 0

  // any type
  mlir::Value either(mlir::Value a, mlir::Value b); // i1
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value b);

protected:
  mlir::OpBuilder &builder;
  mlir::Location loc;

private:
  FunctionUses &functions;
};

} // namespace moec

#endif
