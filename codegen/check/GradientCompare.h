// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gradients that a call made and what they must be -> which one is wrong.

#ifndef MOEC_CODEGEN_CHECK_GRADIENTCOMPARE_H
#define MOEC_CODEGEN_CHECK_GRADIENTCOMPARE_H

#include "codegen/check/CallGradients.h"
#include "codegen/check/Compare.h"
#include "codegen/check/OutputCheck.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moec {

// Of one tensor, whose rows are its last axis.
struct WantedGradient {
  const std::vector<double> *exact = nullptr; // of `rows`, one behind the other; must outlive the comparison
  std::vector<int64_t> rows;                  // which rows, ascending; empty: all
  RowSlack slack;                             // of those rows, in f32
};

// `wanted`: by name; a call of T tokens has the gradients it names and no others, except that a call of no tokens gives
// zeros. `before`: what the buffers of parameters held, to which the call added; their type, and that of shorter
// gradients, gives further room. Empty: all are right, and `result` has what was compared.
std::string wrongGradient(const CallGradients &got, const CallGradients *before,
                          const std::map<std::string, WantedGradient> &wanted, int64_t tokens, CheckResult &result);

} // namespace moec

#endif
