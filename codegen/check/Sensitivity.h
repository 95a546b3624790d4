// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer and one call of it -> how far its outputs may be off, from the reference run with and without the roundings
// that its types allow (dsl/reference/ReferenceRounding.h). The same formula serves every layer.
//
// A run draws the signs of all errors anew; RowSpread.h makes limits of several runs.
//
// Some runs choose other experts for a token, drop it or wrap it differently. They say nothing about its row and
// are left out for it. A row that all runs leave out is undecided: rounding decides about it.

#ifndef MOEC_CODEGEN_CHECK_SENSITIVITY_H
#define MOEC_CODEGEN_CHECK_SENSITIVITY_H

#include "codegen/check/RowSpread.h"

#include "dsl/reference/Reference.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

struct Sensitivity {
  int64_t runs = 0;
  RowSlack logits, weights, y, probabilities;
  std::vector<uint8_t> undecided; // [T], in every run otherwise
  std::vector<uint8_t> moved;     // [T], in some run otherwise: rounding may decide about the row
  // by name, of reports that are f32 numbers of the whole call: the largest change that a run of P made, times 2 + 4/√P
  std::map<std::string, std::vector<double>> totals;
};

// Where experts take tokens: ids and weights [T,E] as packages give them, from what the reference says of experts.
void spreadTaken(const LayerSpec &spec, int64_t numTokens, ReferenceOutputs &outputs);

// `want` is what runReference and spreadTaken gave for the same inputs.
Result<Sensitivity> measureSensitivity(const LayerSpec &spec, const ReferenceInputs &inputs,
                                       const ReferenceOutputs &want, bool tf32);

} // namespace moec

#endif
