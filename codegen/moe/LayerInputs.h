// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Inputs of a call besides x and the parameters. An argument whose moe.role is one of these names is an input; the
// names are those of moec_forward_args.

#ifndef MOEC_CODEGEN_MOE_LAYERINPUTS_H
#define MOEC_CODEGEN_MOE_LAYERINPUTS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

#include "llvm/ADT/ArrayRef.h"

namespace moec {

enum class InputShape { LikeX, Rows, Tokens, One }; // [T,H] of x's type, [T,N], [T], [1]

struct LayerInput {
  llvm::StringLiteral name;
  uint16_t role; // MOEC_ROLE_*
  InputShape shape;
  bool integer;                        // true: i32, false: f32
  llvm::StringLiteral shapeText, text; // for the header of a package
};

llvm::ArrayRef<LayerInput> layerInputs();
const LayerInput *findLayerInput(llvm::StringRef role);

// Whether `type` is the input's; `x` is the type of x.
bool fitsInput(const LayerInput &input, mlir::RankedTensorType type, mlir::RankedTensorType x);

// The input that `value`, an argument of a layer, represents; null for x, parameters and all other values.
const LayerInput *inputOf(mlir::Value value);

} // namespace moec

#endif
