// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of different width -> one route and one set of matmuls for each class of experts; their outputs add up.
//
//   place[e]    class · E + number in the class
//   ids_c[t,j]  place[ids[t,j]] - c · E where that is a member of c, else -1
//   y           Σ_c combine_c: the choices of a class in ascending order, class after class

#include "codegen/build/ExpertClasses.h"
#include "codegen/build/LayerBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// The shape of a role of a class: -1 stands for the class's width.
std::vector<LayerParameter> LayerBuilder::parametersOf(const Role &role) {
  auto parameter = [&](const std::string &name, ArrayRef<int64_t> shape) {
    Type element = role.matrix ? typeOf(spec.dtype.weight) : Type(builder.getF32Type());
    bool stacked = role.expertAxis || (!role.matrix && role.shape.size() == 2);
    return LayerParameter{name, role.name, RankedTensorType::get(shape, element), stacked, {}};
  };
  if (!role.expertAxis || !spec.experts.heterogeneous())
    return {parameter(role.name, role.shape)};
  std::vector<LayerParameter> own;
  for (const ExpertClass &members : expertClasses(spec.experts)) {
    SmallVector<int64_t> shape(role.shape.begin(), role.shape.end()), shapes;
    shape[0] = int64_t(members.experts.size());
    for (int64_t &extent : shape)
      extent = extent < 0 ? members.width : extent;
    for (int64_t e : members.experts)
      for (size_t i = 1; i < role.shape.size(); ++i)
        shapes.push_back(role.shape[i] < 0 ? spec.experts.width(e) : role.shape[i]);
    own.push_back(parameter(classRole(own.size(), role.name), shape));
    auto entry = [&](StringRef name, Attribute value) { return builder.getNamedAttr(name, value); };
    own.back().members = builder.getDictionaryAttr({entry("role", builder.getStringAttr(role.name)),
                                                    entry("experts", builder.getDenseI64ArrayAttr(members.experts)),
                                                    entry("shapes", builder.getDenseI64ArrayAttr(shapes))});
  }
  return own;
}

// "experts.gate" -> "experts.class0.gate"
std::string LayerBuilder::classRole(size_t number, const std::string &role) {
  size_t dot = role.find('.');
  return role.substr(0, dot) + ".class" + std::to_string(number) + role.substr(dot);
}

// What experts of one class read and write: the choices whose expert is a member, by its number there.
RouterValues LayerBuilder::routerOfClass(const RouterValues &router, Value place, size_t number, int64_t members) {
  RouterValues own = router;
  int32_t first = int32_t(int64_t(number) * spec.experts.count);
  own.kept = map({{place, OperandKind::elem}}, cast<RankedTensorType>(place.getType()), [&](ValueRange v) -> Value {
    Value at = plus(v[0], -first);
    Value inside = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, at, integer(int32_t(members)));
    return select(inside, at, integer(-1));
  });
  return own;
}

// The slots of a class: its columns of both softmaxes.
RouterValues LayerBuilder::slotsOfClass(const RouterValues &router, ArrayRef<int64_t> experts) {
  RouterValues own = router;
  SmallVector<int32_t> slots;
  for (int64_t e : experts)
    for (int64_t p = 0; p < spec.router.slots; ++p)
      slots.push_back(int32_t(e * spec.router.slots + p));
  Value at = numbers(slots);
  own.scores = take(router.scores, at);
  own.weights = take(router.weights, at);
  own.route = slotRoute(int64_t(experts.size()));
  return own;
}

Value LayerBuilder::buildClasses(const RouterValues &router, Value tokens) {
  std::vector<ExpertClass> classes = expertClasses(spec.experts);
  Value place;
  if (!router.route) {
    auto all = moe::DispatchOp::create(builder, loc, routeOfExperts(spec.experts.count), router.kept);
    all->setAttr("moe.experts", builder.getUnitAttr()); // for the counts alone
    SmallVector<int32_t> places(size_t(spec.experts.count));
    for (size_t c = 0; c < classes.size(); ++c)
      for (size_t i = 0; i < classes[c].experts.size(); ++i)
        places[size_t(classes[c].experts[i])] = int32_t(int64_t(c) * spec.experts.count + int64_t(i));
    Value taken = take(numbers(places), router.kept);
    auto type = cast<RankedTensorType>(router.kept.getType());
    place = map({{taken, OperandKind::elem}, {router.kept, OperandKind::elem}}, type, [&](ValueRange v) -> Value {
      Value count = integer(int32_t(spec.experts.count));
      return select(arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, v[1], count), v[0], integer(-1));
    });
  }
  Value sum;
  for (auto [c, members] : llvm::enumerate(classes)) {
    expertPrefix = classRole(c, "experts.");
    expertPrefix.pop_back();
    expertWidth = members.width;
    int64_t count = int64_t(members.experts.size());
    Value own = router.route ? slotOutputs(slotsOfClass(router, members.experts), tokens)
                             : routedOutputs(routerOfClass(router, place, c, count), tokens, count);
    if (sum)
      sum = map({{own, OperandKind::elem}, {sum, OperandKind::elem}}, cast<RankedTensorType>(own.getType()),
                [&](ValueRange v) { return add(v[1], v[0]); });
    else
      sum = own;
  }
  return sum;
}

} // namespace moec
