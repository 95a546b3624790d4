// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   place[e]    class · E + number in the class
//   ids_c[t,j]  place[ids[t,j]] - c · E where that is a member of c, else -1

#include "codegen/build/BuildClasses.h"

#include "codegen/build/Routes.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

ClassesBuilder::ClassesBuilder(const RowOps &ops, const LayerSpec &spec, const RouterValues &router)
    : RowOps(ops), spec(spec), router(router), list(expertClasses(spec.experts)) {
  if (router.route)
    return;
  // The classes' routes have their own groups; this one is for the counts of all experts.
  moe::RouteType type = expertRoute(builder.getContext(), spec, spec.experts.count);
  auto all = moe::DispatchOp::create(builder, loc, type, router.kept);
  all->setAttr("moe.experts", builder.getUnitAttr());
  place = placesOf(router.kept);
}

Value ClassesBuilder::placesOf(Value kept) {
  int64_t count = spec.experts.count;
  SmallVector<int32_t> places(static_cast<size_t>(count));
  for (size_t c = 0; c < list.size(); ++c)
    for (size_t i = 0; i < list[c].experts.size(); ++i)
      places[size_t(list[c].experts[i])] = int32_t(int64_t(c) * count + int64_t(i));
  Value taken = take(numbers(places), kept);
  return map({{taken, OperandKind::elem}, {kept, OperandKind::elem}}, typeOf(kept),
             [&](ValueRange v) { return select(isIndex(v[1], count), v[0], integer(-1)); });
}

RouterValues ClassesBuilder::routerOf(size_t number) {
  const std::vector<int64_t> &experts = list[number].experts;
  RouterValues own = router;
  if (!router.route) {
    int32_t first = int32_t(int64_t(number) * spec.experts.count);
    own.kept = map({{place, OperandKind::elem}}, typeOf(place), [&](ValueRange v) {
      Value at = plus(v[0], -first);
      return select(isIndex(at, int64_t(experts.size())), at, integer(-1));
    });
    return own;
  }
  // its columns of both softmaxes
  SmallVector<int32_t> slots;
  for (int64_t e : experts)
    for (int64_t p = 0; p < spec.router.slots; ++p)
      slots.push_back(int32_t(e * spec.router.slots + p));
  Value at = numbers(slots);
  own.slotWeights = take(router.slotWeights, at);
  own.weights = take(router.weights, at);
  own.slotNumbers = slots;
  moe::RouteType type = slotRoute(builder.getContext(), spec, int64_t(experts.size()));
  own.route = moe::SlotsOp::create(builder, loc, type, scopeOf(spec.router.scope));
  return own;
}

} // namespace moec
