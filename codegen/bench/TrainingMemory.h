// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer that trains and T -> what its calls need beside x and y: room for saved values, dy, coefficients of losses,
// and a buffer for every gradient.

#ifndef MOEC_CODEGEN_BENCH_TRAININGMEMORY_H
#define MOEC_CODEGEN_BENCH_TRAININGMEMORY_H

#include "codegen/check/CallGradients.h"
#include "codegen/package/PlanTables.h"

#include <cstdint>
#include <vector>

namespace moec {

// It must outlive the calls of the arguments that it filled.
struct TrainingMemory {
  // For calls of T tokens of `layer` with the inputs that it has now. Gradients of matrices are of type `matrices`: f32
  // or that of the weights. Errors: E-MEMORY, E-INTERNAL.
  static Result<TrainingMemory> make(const LayerRun &layer, const PlanTables &backward, int64_t tokens,
                                     DataType matrices);

  void save(moec_forward_args &args) const;
  // dy, coefficients, saved values, and every gradient, which the call overwrites.
  void fill(moec_backward_args &args);

  PageBuffer saved, dy;
  size_t savedBytes = 0;
  std::vector<float> coefficients; // of the losses
  CallGradients gradients;
};

// Bytes of it, for the largest call; `backward`: the backward plan.
double trainingBytes(const PlanTables &forward, const PlanTables &backward, int64_t tokens, DataType matrices);

} // namespace moec

#endif
