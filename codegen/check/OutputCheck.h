// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One call of a layer that asks for every output, or only for y, and the worst error of several calls.

#ifndef MOEC_CODEGEN_CHECK_OUTPUTCHECK_H
#define MOEC_CODEGEN_CHECK_OUTPUTCHECK_H

#include "codegen/check/LayerRun.h"

#include "codegen/check/Compare.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// Every output of one call, filled with a NaN pattern first, so that elements a kernel fails to write are detected.
struct CallOutputs {
  int64_t tokens = 0, hidden = 0, choices = 0, numLogits = 0, experts = 0;
  DataType type = DataType::F32;
  bool alone = false; // the call asks only for y
  PageBuffer y;
  std::vector<float> logits, weights;
  std::vector<int32_t> ids, counts;
  // MOEC_REPORT_* bits: requested, and those of them that the layer has; vectors of other reports are empty
  uint32_t asked = 0, reports = 0;
  std::vector<float> probabilities, losses, logitMean, logitMax, diversity;
  std::vector<int32_t> choiceCounts, droppedTokens;

  // `ask`: MOEC_REPORT_* bits; the call requests those that the layer has.
  CallOutputs(const moec_layer_info &info, int64_t tokens, uint32_t ask = ~0u);
  // Asks only for y, as a serving program does, so that different launches become neighbours.
  static CallOutputs onlyY(const moec_layer_info &info, int64_t tokens);
  bool ready() const { return y.data() != nullptr; }
  bool run(LayerRun &layer, const void *x, std::string &error);
  bool sameBits(const CallOutputs &other) const; // compares the outputs that both asked for

  std::vector<double> yValues() const;           // [T,H]
  std::vector<double> yRow(int64_t token) const; // [H]
};

// Tolerance of y for an f32 layer whose matmuls round operands to tf32. tf32 keeps 2 bits more than bf16, hence a
// quarter of the 2e-2 of bf16 layers.
constexpr double tf32Tolerance = 5e-3;

// The largest relative error of several comparisons, and where it was.
struct WorstError {
  double value = 0, nmse = 0;
  std::string place;
  // Records `comparison` of the output `what`. False: it did not pass, and `reason` holds its text.
  bool take(const Comparison &comparison, const char *what, std::string &reason);
};

} // namespace moec

#endif
