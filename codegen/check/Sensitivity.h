// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer and one call of it -> how far its outputs may be off, from the reference run with and without the roundings
// that its types allow (dsl/reference/ReferenceRounding.h). The same formula serves every layer.
//
// P runs draw the signs of all errors anew; p[t,c] is what such a run makes of y[t,c], d = p - y:
//
//   most[t] = 2 · max over runs and columns of |d|
//   rms[t]  = (1 + 4/√n) · max over runs of rms over columns of d
//   n       = min(columns, I·K for y, min over runs of 3·(Σ d²)² / Σ d⁴)
//   gain    = 4 · (1 + 12/(P·T)) · max(rms over runs of Σ d·y, √Σ_t mean over runs of (Σ_c d·y)²) / Σ y²
//
// Why these multiples: an error of a run has the largest size that rounding allows, which is √3 times the deviation
// of one that is uniform up to that size. 2·max is then beyond 7 deviations of a kernel's errors from 30 values on,
// and rms of many columns is within a few per cent of 1.7 times the kernel's own. Few values need more room:
// 1 + 4/√n for short rows, narrow experts and rows in which few errors are large (3·(Σd²)²/Σd⁴ is the number of
// columns if errors are normal). P is 4, but 8 below 32 columns, 16 below 8, and 2 if T·H·I·K is above 10 million,
// because rows are long there.
//
// Some runs choose other experts for a token, drop it or wrap it differently. They say nothing about its row and
// are left out for it. A row that all runs leave out is undecided: rounding decides about it.

#ifndef MOEC_CODEGEN_CHECK_SENSITIVITY_H
#define MOEC_CODEGEN_CHECK_SENSITIVITY_H

#include "codegen/check/Compare.h"

#include "dsl/reference/Reference.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

struct Sensitivity {
  int64_t runs = 0;
  RowSlack logits, weights, y, probabilities;
  std::vector<uint8_t> undecided; // [T]
  // by name, of reports that are f32 numbers of the whole call: the largest change that a run made, twice
  std::map<std::string, std::vector<double>> totals;
};

// Where experts take tokens: ids and weights [T,E] as packages give them, from what the reference says of experts.
void spreadTaken(const LayerSpec &spec, int64_t numTokens, ReferenceOutputs &outputs);

// `want` is what runReference and spreadTaken gave for the same inputs. False: `error`.
bool measureSensitivity(const LayerSpec &spec, const ReferenceInputs &inputs, const ReferenceOutputs &want, bool tf32,
                        Sensitivity &out, std::string &error);

} // namespace moec

#endif
