// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows -> the output of one block of matrices and an activation. Routed experts, shared experts and a wrap's dense
// block are such blocks.

#ifndef MOEC_CODEGEN_BUILD_BUILDMLP_H
#define MOEC_CODEGEN_BUILD_BUILDMLP_H

#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

struct MlpShape {
  std::string prefix;   // roles: PREFIX.gate, PREFIX.up, PREFIX.down, biases beside them
  std::string gateBias; // role
  FeedForward block;
  const char *activationKey = ""; // of the spec
  int64_t width = 0;              // hidden columns
  int64_t outputs = 0;            // output columns
  int64_t layers = 1;
  double hiddenScale = 1, outputScale = 1;
  mlir::Value hiddenMask;             // [R,width] f32, factors of the values before the last matrix; null: none
  std::optional<LoraSpec> matrixLora; // beside every matrix: NAME_lora_a, NAME_lora_b
};

class MlpBuilder : RowOps {
public:
  // Hidden rows are stored as `type`. `layer` must outlive the object.
  MlpBuilder(const RowOps &ops, mlir::Type type, const LayerValues &layer) : RowOps(ops), type(type), layer(layer) {}

  // [R,in] -> [R,outputs] f32. `route` null: one block for all rows.
  mlir::Value outputs(mlir::Value input, mlir::Value route, const MlpShape &shape);

  // product + alpha/rank · (in·Aᵀ)·Bᵀ, with the roles PREFIXlora_a and PREFIXlora_b.
  mlir::Value withLora(mlir::Value product, mlir::Value input, mlir::Value route, const std::string &prefix,
                       const LoraSpec &lora);

private:
  mlir::Type type;
  const LayerValues &layer;

  mlir::Value projected(mlir::Value input, const std::string &role, mlir::Value route, const MlpShape &shape);
  mlir::Value activated(mlir::Value value, const MlpShape &shape); // inside a map
  mlir::Value gluHidden(mlir::Value input, mlir::Value route, const MlpShape &shape);
  mlir::Value mlpHidden(mlir::Value input, mlir::Value route, const MlpShape &shape, const std::string &role,
                        bool last);
};

} // namespace moec

#endif
