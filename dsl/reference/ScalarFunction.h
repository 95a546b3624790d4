// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of one function of templates/functions -> its value in float64.
//
// Accepts exactly the straight-line form of those files, on scalars of f32 and i1:
//
//   func.func @NAME(%x: f32) -> f32 {
//     %c = arith.constant 1.0 : f32
//     %y = arith.addf %x, %c : f32
//     func.return %y : f32
//   }
//
// with // comments. Operations: arith.{constant, addf, subf, mulf, divf, negf, maximumf, minimumf, cmpf, select} and
// math.{exp, log, log1p, tanh, erf, sqrt, absf}. Constants and operations are evaluated in float64, unrounded.

#ifndef MOEC_DSL_REFERENCE_SCALARFUNCTION_H
#define MOEC_DSL_REFERENCE_SCALARFUNCTION_H

#include "dsl/text/Result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// A parsed function. Immutable; any number of threads may evaluate it.
class ScalarFunction {
public:
  static constexpr size_t maxBytes = 64 * 1024; // of the text
  static constexpr size_t maxOps = 256;

  // The error, E-TEMPLATE, is at its line of `fileName`: what was found; what is allowed.
  static Result<ScalarFunction> parse(std::string_view text, std::string_view fileName);

  double operator()(double x) const;
  const std::string &name() const { return functionName; }
  size_t numOps() const { return ops.size(); }

  enum class Op : uint8_t {
    Constant,
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    Maximum,
    Minimum,
    Compare,
    Select,
    Exp,
    Expm1,
    Log,
    Log1p,
    Tanh,
    Erf,
    Sqrt,
    Abs
  };

private:
  friend class ScalarFunctionParser;

  // Value 0 is the argument, value i+1 the result of ops[i]. i1 values are 0.0 and 1.0.
  struct Instruction {
    Op op = Op::Constant;
    uint8_t predicate = 0; // Compare: bits 1 less, 2 equal, 4 greater, 8 unordered
    uint16_t operand[3] = {0, 0, 0};
    double constant = 0;
  };

  std::string functionName;
  std::vector<Instruction> ops;
  size_t result = 0;
};

} // namespace moec

#endif
