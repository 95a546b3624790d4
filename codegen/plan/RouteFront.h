// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch plan in -> its routes whose choices go from a row program straight to a dispatch, so that one kernel can do
// both.

#ifndef MOEC_CODEGEN_PLAN_ROUTEFRONT_H
#define MOEC_CODEGEN_PLAN_ROUTEFRONT_H

#include "codegen/plan/LaunchPlan.h"

#include <optional>
#include <vector>

namespace moec {

// Steps that every call runs. Steps between `rows` and `dispatch` make nothing that the dispatch reads.
struct RouteFront {
  size_t rows = 0, dispatch = 0;
  std::optional<size_t> router; // the matmul without a route directly before `rows`
};

// One per row program, for the first of its dispatches.
std::vector<RouteFront> routeFronts(const LaunchPlan &plan);

} // namespace moec

#endif
