// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The errors that a kernel may make, for a reference run that is asked to make them too.
//
//   rounded to a type   v ± half a step of the type at v; v itself where the type holds it
//   one f32 operation   v ± 2^-24 · size, where `size` is that of what was added or multiplied
//   a sum of n products v ± 2^-24 · (|a||b| + sqrt(n)·|v|): partial sums of random signs, and of one sign
//
// Every error has its largest size and a drawn sign, the same for equal values that are rounded to a type: a run with
// few roundings cannot come out near the exact one by chance, and the runs of some seeds bound the error of a kernel
// from above instead of imitating it.

#ifndef MOEC_DSL_REFERENCE_REFERENCEROUNDING_H
#define MOEC_DSL_REFERENCE_REFERENCEROUNDING_H

#include "dsl/DataType.h"

#include <cstdint>

namespace moec {

class ReferenceRounding {
public:
  // `tf32`: matmuls behind the routing may round f32 operands to tf32.
  ReferenceRounding(uint64_t seed, bool tf32) : tf32(tf32), seed(seed), state(seed * 0x9e3779b97f4a7c15u + 1) {}

  double rounded(double v, DataType type); // f32, bf16 or f16
  double roundedToTf32(double v);
  double operation(double v, double size);
  double sumOfProducts(double v, double lengthOfA, double lengthOfB, double count);

  const bool tf32;

private:
  double moved(double v, int precision, double least);
  bool up();
  const uint64_t seed;
  uint64_t state, signs = 0;
  int left = 0;
};

} // namespace moec

#endif
