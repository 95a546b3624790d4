// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in this process -> the tables of its launch plan (runtime/moec_abi.h), as vectors.

#ifndef MOEC_CODEGEN_PACKAGE_PLANTABLES_H
#define MOEC_CODEGEN_PACKAGE_PLANTABLES_H

#include "dsl/text/Result.h"
#include "runtime/moec_abi.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct PlanTables {
  moec_plan_header header = {};
  std::vector<moec_buffer> buffers;
  std::vector<moec_step> steps;
  std::vector<uint16_t> args;
  std::vector<uint8_t> covers;
  std::vector<moec_role> roles;
  std::vector<moec_weight> weights;
  // Of the forward plan of a layer that trains: the packed weights of both passes, which begin with `weights`.
  std::vector<moec_weight> weightsOfBoth;
  uint64_t packedBytesOfBoth = 0;
  std::string strings = std::string(1, '\0'); // offset 0 = the empty string

  const std::vector<moec_weight> &packedWeights() const { return packedBytesOfBoth ? weightsOfBoth : weights; }
  uint64_t packedBytes() const { return packedBytesOfBoth ? packedBytesOfBoth : header.packed_bytes; }
  void takeWeightsOf(const PlanTables &backward) {
    weightsOfBoth = backward.weights;
    packedBytesOfBoth = backward.header.packed_bytes;
  }

  std::string_view text(uint32_t offset) const;               // at an offset of `strings`; empty outside of it
  const moec_weight *weightOf(const moec_step &matmul) const; // B of a matmul; null: not a matmul
};

// The argument of a matmul that is B (MatmulArgs of codegen/plan/StepArgs.h).
constexpr unsigned matmulWeightArgument = 1;

// A copy of what moec_plan_open has checked, with the weights of a backward pass. The error is E-PACKAGE.
Result<PlanTables> readPlan(const moec_package *package);

// Of a backward plan: "x", "residual", "expert_weights" and the roles that have a gradient.
std::vector<std::string> gradientTexts(const PlanTables &backward);

// The backward pass of a package; null: it has none.
const moec_package *backwardOf(const moec_package *package);

// "rows", "matmul", "dispatch", ...; "?" for a kind that moec_abi.h does not have.
const char *stepKindText(const moec_step &step);

std::string identityText(const moec_plan_header &header); // the layer's, 64 hex digits

// The instruction sets in a mask of moec_plan_header, lowest first: {"baseline", "avx2"}.
std::vector<std::string> isaTexts(uint32_t mask);

} // namespace moec

#endif
