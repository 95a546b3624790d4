// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch plan in -> its routes whose choices go from a row program straight to a dispatch, which one kernel may do
// together.

#ifndef MOEC_CODEGEN_PLAN_ROUTEFRONT_H
#define MOEC_CODEGEN_PLAN_ROUTEFRONT_H

#include "codegen/plan/LaunchPlan.h"

#include <optional>
#include <vector>

namespace moec {

// Steps that every call runs. Between `rows` and `dispatch` only steps stand that do not make what the dispatch reads.
struct RouteFront {
  size_t rows = 0, dispatch = 0;
  std::optional<size_t> router; // the matmul without a route directly before `rows`
};

// One per row program, for the first of its dispatches.
std::vector<RouteFront> routeFronts(const LaunchPlan &plan);

} // namespace moec

#endif
