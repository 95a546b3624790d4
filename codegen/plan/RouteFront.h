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

// Whether a launch of every call lies between the matmul of step `step` and whatever says which weights its blocks read
// first: the beginning of the call, or the dispatch of its route. That launch has then waited for the dispatch, and the
// caller's own kernels are never directly before. Steps that may have no launch of their own do not count: dispatches,
// which a front may do, joined matmuls and what only reports need.
bool weightsKnownEarly(const LaunchPlan &plan, size_t step);

} // namespace moec

#endif
