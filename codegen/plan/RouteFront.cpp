// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pattern: [matmul without a route] row program without a route ... dispatch of one of its results.

#include "codegen/plan/RouteFront.h"

#include "codegen/fuse/JoinStages.h"
#include "codegen/plan/StageArgs.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace moec {

static bool readsRoute(moe::RowProgramOp rows) {
  return llvm::any_of(rows.getInputs(), [](Value v) { return isa<moe::RouteType>(v.getType()); });
}

static bool isRouter(const LaunchPlan &plan, size_t step) {
  const moec_step &candidate = plan.steps[step];
  return candidate.kind == MOEC_STEP_MATMUL && candidate.route == MOEC_NO_ROUTE && !candidate.asked;
}

// The row program before `step` that makes buffer `buffer`, as its step; plan.steps.size(): none.
static size_t makerOf(const LaunchPlan &plan, size_t step, uint16_t buffer) {
  for (size_t i = step; i-- > 0;) {
    auto rows = dyn_cast_or_null<moe::RowProgramOp>(plan.stageOf[i]);
    if (rows && llvm::is_contained(buffersOf(rows, plan, plan.steps[i]).results, buffer))
      return readsRoute(rows) ? plan.steps.size() : i;
  }
  return plan.steps.size();
}

std::vector<RouteFront> routeFronts(const LaunchPlan &plan) {
  std::vector<RouteFront> fronts;
  for (size_t step = 0; step < plan.steps.size(); ++step) {
    if (plan.steps[step].kind != MOEC_STEP_DISPATCH || plan.steps[step].asked)
      continue;
    DispatchArgs<uint16_t> args = bindArgs(DispatchArgs<uint16_t>(), plan.argsOf(plan.steps[step]));
    RouteFront front = {makerOf(plan, step, args.ids), step, std::nullopt};
    auto isTaken = [&](const RouteFront &other) { return other.rows == front.rows; };
    if (front.rows == plan.steps.size() || plan.steps[front.rows].asked || llvm::any_of(fronts, isTaken))
      continue;
    if (front.rows && isRouter(plan, front.rows - 1))
      front.router = front.rows - 1;
    fronts.push_back(front);
  }
  return fronts;
}

bool weightsKnownEarly(const LaunchPlan &plan, size_t step) {
  const moec_step &stage = plan.steps[step];
  auto isJoined = [&](size_t i) { return plan.stageOf[i] && plan.stageOf[i]->hasAttr(moe::joinedAttr); };
  // the launches of others may be none: a call need not ask for a gradient
  auto isAlwaysLaunched = [&](size_t i) {
    uint16_t kind = plan.steps[i].kind;
    return !plan.steps[i].asked && kind != MOEC_STEP_DISPATCH && kind != MOEC_STEP_GROUPS &&
           kind != MOEC_STEP_GRADIENT && kind != MOEC_STEP_COPY && !isJoined(i);
  };
  for (size_t i = stage.route == MOEC_NO_ROUTE ? 0 : stage.route + size_t(1); i < step; ++i)
    if (isAlwaysLaunched(i))
      return true;
  return false;
}

} // namespace moec
