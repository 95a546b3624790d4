// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer written in the moe dialect -> what verify and bench must know of it: tensors of a checkpoint, sizes, inputs.

#ifndef MOEC_CODEGEN_CLI_TEXTLAYER_H
#define MOEC_CODEGEN_CLI_TEXTLAYER_H

#include "SpecInput.h"

#include "codegen/check/CallInputs.h"
#include "codegen/check/RandomTensors.h"
#include "codegen/pipeline/LayerText.h"

#include "dsl/LayerSpec.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moec {

struct TextTensor {
  Role role;
  DataType type = DataType::F32;
  int64_t idsBelow = 0; // not 0: its values are group ids below this number
};

struct TextLayer {
  std::unique_ptr<LayerText> parsed;
  std::vector<TextTensor> tensors;
  int64_t hidden = 0, choices = 0, experts = 0; // choices is 0 if the layer does not return ids
  DataType activation = DataType::F32;
  bool looksAtAllTokens = false; // a token's result depends on other tokens
  double flopsPerToken = 0;      // of its matmuls
  double freedom = HUGE_VAL;     // hidden values behind a row of y: the narrowest matmul's depth times its choices

  // Null: the text has errors, and they were printed.
  static std::unique_ptr<TextLayer> parse(Session &session, const SpecInput &input);
  mlir::func::FuncOp layer() const { return parsed->layer; }

  // What a call of T tokens is given besides x, and the same as numbers; sequences of a length that divides T.
  void randomInputs(int64_t tokens, uint64_t seed, CallInputs &call,
                    std::map<std::string, std::vector<double>> &values) const;
};

// Mean and deviation of a tensor's random values: scales, norms and temperatures are near 1, biases near 0.
Distribution distributionOf(const TextTensor &tensor);

// f32, bf16, f16, else i32.
DataType dataTypeOf(mlir::Type element);

} // namespace moec

#endif
