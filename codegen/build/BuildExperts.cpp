// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/BuildExperts.h"

#include "codegen/build/BuildClasses.h"
#include "codegen/build/Routes.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

ExpertsValues ExpertsBuilder::build(const RouterValues &router) {
  Value tokens = spec.experts.latent ? latentIn(bool(router.route)) : layer.x;
  ExpertsValues out;
  if (spec.experts.heterogeneous()) {
    out = classOutputs(router, tokens);
  } else {
    int64_t width = spec.experts.intermediate.empty() ? 0 : spec.experts.intermediate[0];
    out = setOutputs({"experts", spec.experts.count, width}, router, tokens);
  }
  if (spec.experts.latent)
    out.combined = latentOut(out.combined, router);
  return out;
}

ExpertsValues ExpertsBuilder::setOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  return router.route ? slotOutputs(experts, router, tokens) : routedOutputs(experts, router, tokens);
}

// Σ_c of the classes' outputs: the choices of a class in ascending order, class after class
ExpertsValues ExpertsBuilder::classOutputs(const RouterValues &router, Value tokens) {
  ClassesBuilder classes(*this, spec, router);
  ExpertsValues all;
  for (auto [c, members] : llvm::enumerate(classes.classes())) {
    ExpertSet experts{classRole("experts", c), int64_t(members.experts.size()), members.width};
    ExpertsValues own = setOutputs(experts, classes.routerOf(c), tokens);
    all.routed.append(own.routed);
    if (all.combined)
      all.combined = map({{own.combined, OperandKind::elem}, {all.combined, OperandKind::elem}}, typeOf(own.combined),
                         [&](ValueRange v) { return add(v[1], v[0]); });
    else
      all.combined = own.combined;
  }
  return all;
}

// Σ_j w_j · expert_{id_j}(x), or Σ_j expert_{id_j}(w_j · x) where the weight is applied to the input; f32
ExpertsValues ExpertsBuilder::routedOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  auto dispatch =
      moe::DispatchOp::create(builder, loc, expertRoute(builder.getContext(), spec, experts.count), router.kept);
  if (!spec.experts.heterogeneous())
    dispatch->setAttr("moe.experts", builder.getUnitAttr());
  Value route = dispatch;
  Value input = gather(tokens, route);
  bool weightsInput = spec.combine.apply == CombineApply::Input;
  if (weightsInput) {
    Value weight = gatherChoices(router.weights, route);
    Type element = typeOf(tokens).getElementType();
    input = map({{input, OperandKind::elem}, {weight, OperandKind::row}}, typeOf(tokens),
                [&](ValueRange v) { return fromF32(multiply(toF32(v[0]), v[1]), element); });
  }
  ExpertsValues out;
  Value rows = outputs(experts, input, route, router);
  out.combined = combine(rows, route, weightsInput ? Value() : router.weights);
  out.routed.push_back({rows, route});
  return out;
}

//   slot_s = Σ_t D[t,s]·x_t   o_s = expert_{s/P}(slot_s)   y_t = Σ_s C[t,s]·o_s
// A latent projection before the slots is one after them, because every column of D sums to 1. The norms of the latent
// space are those of slots.
ExpertsValues ExpertsBuilder::slotOutputs(const ExpertSet &experts, const RouterValues &router, Value tokens) {
  Value input = moe::SlotInputsOp::create(builder, loc, tokens.getType(), tokens, router.slotWeights, router.route);
  if (spec.experts.latent && spec.experts.latent->normIn)
    input =
        norm.normalized(input, *spec.experts.latent->normIn, typeOf(input).getElementType(), layer, "latent.norm_in");
  Value rows = outputs(experts, input, router.route, router);
  if (spec.experts.latent && spec.experts.latent->normOut)
    rows = norm.normalized(rows, *spec.experts.latent->normOut, f32(), layer, "latent.norm_out");
  ExpertsValues out;
  out.combined = combine(rows, router.route, router.weights);
  return out;
}

// ---- rows of a route --------------------------------------------------------------------------------------------

// o of every row, with all that follows the last matrix
Value ExpertsBuilder::outputs(const ExpertSet &experts, Value input, Value route, const RouterValues &router) {
  MlpShape shape = shapeOf(experts);
  if (spec.takesHiddenMask() && spec.experts.form != ExpertForm::Linear)
    shape.hiddenMask = maskRows("hidden_mask", route, shape.width, router);
  Value output = mlp.outputs(input, route, shape);
  bool parallel = spec.experts.lora && spec.experts.lora->at == LoraAt::Parallel;
  if (parallel)
    output = mlp.withLora(output, input, route, experts.prefix + ".", *spec.experts.lora);
  if (spec.experts.normOut)
    output = normalized(experts, output, route, router.kept);
  if (parallel || spec.experts.normOut)
    output = scaledRows(output, outputScale());
  if (spec.takesOutputMask())
    output =
        map({{output, OperandKind::elem}, {maskRows("output_mask", route, shape.outputs, router), OperandKind::elem}},
            typeOf(output), [&](ValueRange v) { return multiply(v[0], v[1]); });
  return spec.combine.rowsF32 ? output : rounded(output, elementOf(spec.dtype.activation));
}

// The rows of a dropout mask: of tokens, K runs of columns each, or of slots.
Value ExpertsBuilder::maskRows(const std::string &name, Value route, int64_t columns, const RouterValues &router) {
  Value mask = layer.input(name);
  if (!router.route)
    return gatherColumns(mask, route, columns);
  auto numbers = router.slotNumbers.empty() ? DenseI32ArrayAttr() : builder.getDenseI32ArrayAttr(router.slotNumbers);
  return moe::SlotRowsOp::create(builder, loc, rows(f32(), columns), scopeOf(spec.router.scope), mask, route,
                                 uint64_t(spec.slots()), numbers);
}

MlpShape ExpertsBuilder::shapeOf(const ExpertSet &set) const {
  const ExpertsSpec &experts = spec.experts;
  MlpShape shape;
  shape.prefix = set.prefix;
  shape.gateBias = set.prefix + ".gate_bias";
  shape.block = experts;
  shape.activationKey = "experts.act";
  shape.outputs = spec.expertOutputs();
  shape.width = experts.form == ExpertForm::Linear ? shape.outputs : set.width;
  shape.layers = experts.layers;
  shape.hiddenScale = experts.hiddenDropout.scaleAtEval && !spec.trains() ? 1 - experts.hiddenDropout.p : 1.0;
  bool parallel = experts.lora && experts.lora->at == LoraAt::Parallel;
  shape.outputScale = parallel || experts.normOut ? 1.0 : outputScale(); // otherwise the factor comes after them
  if (experts.lora && !parallel)
    shape.matrixLora = experts.lora;
  return shape;
}

// output_scale, and 1 - p of a dropout that scales at inference.
double ExpertsBuilder::outputScale() const {
  const DropoutSpec &dropout = spec.experts.outputDropout;
  return spec.experts.outputScale * (dropout.scaleAtEval && !spec.trains() ? 1 - dropout.p : 1.0);
}

// norm_out of every row, with the roles of its expert or of all
Value ExpertsBuilder::normalized(const ExpertSet &experts, Value output, Value route, Value kept) {
  if (!spec.experts.normOut->perExpert)
    return norm.normalized(output, *spec.experts.normOut, f32(), layer, "experts.norm");
  Value groups = kept; // the group of every choice; slot s belongs to expert s / P
  if (!groups) {
    auto slots = cast<moe::RouteType>(route.getType());
    groups = map({{columns(slots.getChoices()), OperandKind::elem}}, rows(i32(), slots.getChoices()),
                 [&](ValueRange v) { return quotient(v[0], int32_t(slots.getChoices() / slots.getGroups())); });
  }
  Value group;
  return norm.normalized(output, *spec.experts.normOut, f32(), [&](const char *suffix) -> Bound {
    if (!group)
      group = gatherChoices(groups, route);
    Value table = layer.parameter(experts.prefix + ".norm" + suffix);
    return {moe::LookupOp::create(builder, loc, typeOf(output), table, group), OperandKind::elem};
  });
}

// ---- latent projections -----------------------------------------------------------------------------------------

// x·Lᵀ + b in the activation type, which the experts read instead of x; normalised unless slots are
Value ExpertsBuilder::latentIn(bool slots) {
  const LatentSpec &latent = *spec.experts.latent;
  bool normed = latent.normIn && !slots;
  Type stored = elementOf(spec.dtype.activation), type = normed ? f32() : stored;
  SmallVector<Bound> operands = {{matmul(layer.x, layer.parameter("latent.in"), Value()), OperandKind::elem}};
  if (latent.bias)
    operands.push_back({layer.parameter("latent.in_bias"), OperandKind::col});
  Value narrow = operands[0].value;
  if (latent.bias || !normed)
    narrow = map(operands, rows(type, latent.dim),
                 [&](ValueRange v) { return fromF32(latent.bias ? add(v[0], v[1]) : v[0], type); });
  return normed ? norm.normalized(narrow, *latent.normIn, stored, layer, "latent.norm_in") : narrow;
}

// The weights of soft routing do not add up to 1, so they also weight the bias. A token that no expert took gets x in
// place of what comes out here (unselected identity), which a bias or a norm would make of 0.
Value ExpertsBuilder::latentOut(Value combined, const RouterValues &router) {
  const LatentSpec &latent = *spec.experts.latent;
  Value biasFactor;
  if (latent.bias && router.route)
    biasFactor = sumRows(router.weights);
  Type type = elementOf(spec.dtype.activation);
  bool normed = latent.normOut && !router.route; // slots are normalised before they are mixed
  Value narrow =
      normed ? norm.normalized(combined, *latent.normOut, type, layer, "latent.norm_out") : rounded(combined, type);
  Value wide = matmul(narrow, layer.parameter("latent.out"), Value());
  bool replaced = spec.router.unselected == Unselected::Identity && (latent.bias || latent.normOut);
  if (!latent.bias && !replaced)
    return wide;
  SmallVector<Bound> operands = {{wide, OperandKind::elem}};
  if (latent.bias)
    operands.push_back({layer.parameter("latent.out_bias"), OperandKind::col});
  if (biasFactor)
    operands.push_back({biasFactor, OperandKind::row});
  if (replaced)
    operands.push_back({router.passed, OperandKind::row});
  return map(operands, typeOf(wide), [&](ValueRange v) {
    Value sum = !latent.bias ? v[0] : add(v[0], biasFactor ? multiply(v[1], v[2]) : v[1]);
    return replaced ? select(isZero(v.back()), sum, number(0)) : sum;
  });
}

} // namespace moec
