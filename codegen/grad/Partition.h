// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer with gradients -> a forward function that also returns what it saves, and a backward function that takes it.
//
//   forward   (x, parameters, inputs) -> y, ..., saved.0, saved.1, ...
//   backward  (x, parameters, inputs, grad.y, grad.losses, saved.0, ...) -> grad.x, grad.ROLE, ...
//
// x, parameters and inputs stay with the caller between the two. Of the other values of forward that backward reads,
// the first rule that applies decides:
//
//   P1  choices are saved: ids, tokens taken, places, every integer that follows from numbers. Made again they could
//       come out otherwise: values tie, another kernel makes them.
//   P2  a route, and what brings values to its rows, is made again.
//   P3  ops of rows (map, softmax, take, ...) are done again.
//   P4  a matmul is done again if it costs at most 1/20 of all matmuls of a token: a router. Otherwise it is saved, in
//       the type of its A: what an activation is computed from. Logits keep their own type: in bf16 a logit of 8
//       would be off by up to 1/32, and so would the weights that follow from it.
//   P5  what mixes rows (combine, slot_inputs) is saved, in the type of the rows; sums over tokens are done again.
//
// The policy Choices saves what P1 says and does all matmuls again. With Matmuls and experts of a gated MLP this keeps
// 2·I values per choice beside x: the activation is computed again, and the experts' outputs are needed for a norm of
// theirs only (GradientRules.h, combine of matmul).

#ifndef MOEC_CODEGEN_GRAD_PARTITION_H
#define MOEC_CODEGEN_GRAD_PARTITION_H

#include "codegen/moe/LayerChecks.h"

#include <string>
#include <vector>

namespace moec {

enum class SavePolicy { Matmuls, Choices };

struct SavedValue {
  std::string role;            // "saved.0"
  std::string what;            // "experts.gate", "ids", "map": the parameter of a matmul, or the op
  mlir::RankedTensorType type; // of the stored value
  int64_t rowsPerToken = 1;    // at most
  int64_t bytesPerToken() const;
};

struct Partition {
  mlir::func::FuncOp forward, backward; // in the layer's module
  std::vector<SavedValue> saved;
  std::vector<std::string> again; // what backward computes again, in order
};

// `layer` was made by differentiate(); it becomes `forward`, and `backward` is added behind it with the name
// NAME_backward.
Partition partition(mlir::func::FuncOp layer, SavePolicy policy);

// What is saved with its bytes per token, and what is computed again: lines of comments.
std::string describe(const Partition &partition);

} // namespace moec

#endif
