// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What gradients of a layer are compared to: a random forward and backward call, and what must come of them.

#ifndef MOEC_CODEGEN_CHECK_GRADIENTORACLE_H
#define MOEC_CODEGEN_CHECK_GRADIENTORACLE_H

#include "codegen/check/CallGradients.h"
#include "codegen/check/OutputCheck.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// What both calls are given.
struct GradientCall {
  int64_t tokens = 0;
  PageBuffer x, dy; // [T,H] in the types of x and y
  CallInputs inputs;
  std::vector<float> coefficients; // of the losses
};

class GradientOracle {
public:
  virtual ~GradientOracle() = default;
  // Names of the inputs that have a gradient: "x", "residual", "expert_weights".
  virtual const std::vector<std::string> &inputs() const = 0;
  virtual DataType weightType() const = 0; // of matrices: f32, or the other type that their gradients may have
  // Bytes of memory that comparisons will take besides the weights as drawn.
  virtual double bytes(int64_t tokens) const = 0;
  // Draws a call of T tokens and computes its gradients. An error: they cannot be computed, or their own check against
  // the reference failed (E-MISMATCH).
  virtual Result<> draw(const RoleTensors &weights, uint64_t weightSeed, int64_t tokens) = 0;
  virtual const GradientCall &call() const = 0; // drawn last
  virtual size_t undecided() const = 0;         // its tokens about which rounding decides
  // Gradients of that call; `before`: what the buffers of parameters held, to which the call added. False: `reason`
  // says which is wrong.
  virtual bool compare(const CallGradients &got, const CallGradients *before, CheckResult &result,
                       std::string &reason) = 0;
};

} // namespace moec

#endif
