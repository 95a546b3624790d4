// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/Routes.h"

#include <cmath>

using namespace mlir;

namespace moec {

moe::Scope scopeOf(SelectScope scope) { return scope == SelectScope::Batch ? moe::Scope::batch : moe::Scope::sequence; }

moe::Scope scopeOf(CapacityScope scope) {
  switch (scope) {
  case CapacityScope::Batch:
    return moe::Scope::batch;
  case CapacityScope::Sequence:
    return moe::Scope::sequence;
  case CapacityScope::Group:
    return moe::Scope::group;
  }
  llvm_unreachable("every scope is above");
}

// Experts that take tokens take few of them: a scope of n tokens gives E · C rows. Else K per token.
moe::RouteType expertRoute(MLIRContext *context, const LayerSpec &spec, int64_t experts) {
  int64_t choices = spec.choices();
  const RouterSelect &chosen = spec.router.select;
  if (spec.router.kind != RouterKind::ExpertChoice)
    return moe::RouteType::get(context, experts, choices);
  bool batch = chosen.scope == SelectScope::Batch;
  // C <= max(1, factor · n / E + 1/2): E · C <= factor · n + E
  int64_t perToken = chosen.tokens ? 0 : int64_t(std::ceil(*chosen.capacityFactor));
  int64_t perScope = experts * (chosen.tokens ? std::min<int64_t>(*chosen.tokens, INT32_MAX / experts) : 1);
  if (perToken >= choices)
    return moe::RouteType::get(context, experts, choices);
  return moe::RouteType::get(context, experts, choices, perToken, batch ? 0 : perScope, batch ? perScope : 0);
}

moe::RouteType slotRoute(MLIRContext *context, const LayerSpec &spec, int64_t experts) {
  int64_t slots = experts * spec.router.slots;
  bool batch = spec.router.scope == SelectScope::Batch;
  return moe::RouteType::get(context, experts, slots, 0, batch ? 0 : slots, batch ? slots : 0);
}

} // namespace moec
