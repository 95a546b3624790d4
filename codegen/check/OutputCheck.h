// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One call of a layer that asks for every output, or only for y, and the worst error of several calls.

#ifndef MOEC_CODEGEN_CHECK_OUTPUTCHECK_H
#define MOEC_CODEGEN_CHECK_OUTPUTCHECK_H

#include "codegen/check/LayerRun.h"

#include "codegen/check/Compare.h"
#include "runtime/moec_outputs.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// Every output of one call, filled with a NaN pattern first, so that elements a kernel fails to write are detected.
struct CallOutputs {
  int64_t tokens = 0, hidden = 0, choices = 0, numLogits = 0, experts = 0;
  DataType type = DataType::F32;
  PageBuffer y;
  // MOEC_REPORT_* bits: requested, and those of them that the layer has
  uint32_t asked = 0, reports = 0;
  // logits, ids, ...: a vector for each row of moec_outputs.h, of float or int32_t; empty if the call does not ask for
  // it or the layer does not have it
  using F32 = float;
  using I32 = int32_t;
#define MEMBER(ROLE, name, DTYPE, SHAPE, NEEDS, text) std::vector<DTYPE> name;
  MOEC_OUTPUTS(MEMBER)
#undef MEMBER

  // `ask`: MOEC_REPORT_* bits; the call requests those that the layer has.
  CallOutputs(const moec_layer_info &info, int64_t tokens, uint32_t ask = ~0u);
  // Asks only for y, as a serving program does, so that different launches become neighbours.
  static CallOutputs onlyY(const moec_layer_info &info, int64_t tokens);
  bool ready() const { return y.data() != nullptr; }
  Result<> run(LayerRun &layer, const void *x);
  bool sameBits(const CallOutputs &other) const; // compares the outputs that both asked for

  std::vector<double> yValues() const;           // [T,H]
  std::vector<double> yRow(int64_t token) const; // [H]
};

// visit(row of the table, vector) for every output of `outputs`, until one gives false.
template <typename Visit> bool eachOutput(const CallOutputs &outputs, Visit visit) {
  const moec_output *row = moec_outputs;
#define VISIT(ROLE, name, DTYPE, SHAPE, NEEDS, text) &&visit(*row++, outputs.name)
  return true MOEC_OUTPUTS(VISIT);
#undef VISIT
}

// What was really compared with the reference.
struct Compared {
  size_t rows = 0, values = 0; // of y, without tokens about which rounding decides
  size_t empty = 0;            // calls of no token, in which there is nothing to compare

  void add(const Compared &other) {
    rows += other.rows;
    values += other.values;
    empty += other.empty;
  }
};

// The largest error of several comparisons, relative to its row, and where most of a limit was used up.
struct WorstError {
  double value = 0, nmse = 0;
  double ofLimit = 0; // the largest share of a limit that was used up
  std::string place;  // of ofLimit
  // Records `comparison` of the output `what`. False: it did not pass, and `reason` holds its text.
  bool take(const Comparison &comparison, const char *what, std::string &reason);
};

// What comparisons of whole calls add up to.
struct CheckResult {
  WorstError worst;
  Compared compared;
};

} // namespace moec

#endif
