// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters in logical form and where a published checkpoint keeps each -> the bytes of a safetensors file. Written
// apart from every reader on purpose: the two check each other.

#ifndef MOEC_TESTS_E2E_CHECKPOINTFILE_H
#define MOEC_TESTS_E2E_CHECKPOINTFILE_H

#include "codegen/check/GoldenCase.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

// Where one role stands: "experts.gate mlp.experts.gate_up_proj in_out first_half" or "router.weight mlp.gate.weight".
// Words behind the tensor: per_expert, flat_rows or interleaved_columns (else stacked), in_out (else out_in),
// first_half, second_half, even, odd.
class CheckpointFile {
public:
  // Adds a tensor as it is.
  void add(const std::string &name, const GoldenTensor &tensor) { tensors[name] = tensor; }
  // Adds the parameter [E,out,in], [out,in], [E,n] or [n] of `line`'s role; `experts`: it has a leading expert axis.
  // Two parts of one tensor must be given with the same shape.
  void store(const std::string &prefix, const std::string &line, const GoldenTensor &parameter, bool experts);
  void write(const std::string &path) const;

private:
  std::map<std::string, GoldenTensor> tensors;
};

} // namespace moec

#endif
