// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A region of arith and math ops -> a list of instructions that is evaluated element by element in float64.
//
// Floating results of 16 bits are rounded to their type (to nearest, ties to even), wider ones are not. Integers wrap
// at their width. Where arith leaves a result open the interpreter is definite: a float outside an integer's range
// becomes the nearest value of that range and NaN 0, a shift by the width or more gives 0. Division by zero is an
// error.

#ifndef MOEC_CODEGEN_INTERPRET_SCALARREGION_H
#define MOEC_CODEGEN_INTERPRET_SCALARREGION_H

#include "codegen/interpret/InterpretedValues.h"

#include "mlir/IR/Region.h"

#include <limits>
#include <vector>

namespace moec::interpret {

struct Scalar {
  double real = 0;
  int64_t integer = 0; // of integer types; sign extended, i1 as 0 or 1
};

// v as an element of `type` holds it; f32 and f64 are left alone.
double roundedTo(mlir::Type type, double v);

class ScalarRegion {
public:
  // Failure: an error was emitted on an op that is not a scalar op of arith or math.
  mlir::LogicalResult compile(mlir::Region &region, const Roundings &round);

  // The value that the region yields for these arguments, as an element of a tensor: integers as doubles. Arguments are
  // given in the same form.
  double run(llvm::ArrayRef<double> arguments);

  // Over all runs since reset(): how close the operands of a float comparison came to each other without being equal,
  // relative to the larger one. Less exact arithmetic decides alike where this exceeds its error.
  double closest() const { return margin; }
  void reset() { margin = std::numeric_limits<double>::infinity(); }
  bool divided() const { return byZero; }   // by zero, in some run
  bool rounds() const { return narrow; }    // holds a conversion to bf16 or f16
  bool empty() const { return !hasRegion; } // nothing was compiled

  struct Instruction {
    using Function = Scalar (*)(const Instruction &, const Scalar *operands, ScalarRegion &);
    Function function = nullptr;
    unsigned operands[3] = {0, 0, 0}; // places of their values
    unsigned from = 64, to = 64;      // bits of the operands' and the result's integer type
    int predicate = 0;
    Scalar constant;
    mlir::Type roundTo; // null: not rounded
    double units = 0;   // of the last place of f32, by which a kernel's result may be off
  };

private:
  friend struct ScalarOps;
  Roundings round;
  std::vector<Instruction> instructions;
  std::vector<Scalar> places; // arguments first
  std::vector<bool> integerArgument;
  unsigned result = 0;
  bool integerResult = false, hasRegion = false, byZero = false, narrow = false;
  double margin = std::numeric_limits<double>::infinity();
};

} // namespace moec::interpret

#endif
