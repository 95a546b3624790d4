// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> the same function with gradients among its results.
//
//   L = <dy, y> + sum_i c_i loss_i          d_v = dL/dv
//
// Arguments appended: grad.y, dy in y's type and shape; grad.losses, c [n] f32, where the layer has losses. Results
// appended: grad.ROLE for x and every other input and parameter that is differentiated and that L depends on, f32, of
// its shape. Runs before fusion, so that the same rules fuse what comes out.

#ifndef MOEC_CODEGEN_GRAD_DIFFERENTIATE_H
#define MOEC_CODEGEN_GRAD_DIFFERENTIATE_H

#include "codegen/build/FunctionLibrary.h"

#include <functional>

namespace moec {

// Parameters without a gradient, by role; for a parameter of several tensors (moe.members) by that of the tensors.
struct Frozen {
  std::function<bool(llvm::StringRef role)> whole = nullptr; // null: none
  // One flag for each of `experts` experts, or none; null: none. Their gradients are 0 and not computed.
  std::function<std::vector<bool>(llvm::StringRef role, int64_t experts)> experts = nullptr;
};

struct GradientOptions {
  bool parameters = true; // false: gradients of inputs only
  Frozen frozen;
};

// Inputs of a call that are differentiated: "x", "residual", "expert_weights".
bool isDifferentiable(llvm::StringRef input);

// `layer` was accepted by findLayer, apart from moe.apply. Loads derivatives into `functions` and puts the bodies of
// all functions in the place of moe.apply. Errors: E-TEMPLATE, a function has no derivative; E-INTERNAL, an op has no
// rule. After an error the function is not usable.
Result<> differentiate(mlir::func::FuncOp layer, FunctionLibrary &functions, const GradientOptions &options = {});

} // namespace moec

#endif
