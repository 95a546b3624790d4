// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in -> a layer whose calls can be timed out.

#include "BenchedLayer.h"

#include "Clocks.h"

#include "codegen/check/OutputCheck.h"
#include "codegen/package/CallMemory.h"

#include <algorithm>
#include <cmath>

namespace moec {

BenchedLayer::BenchedLayer(BenchPackage package, const BenchOptions &options, int64_t distinct)
    : of(std::move(package)), chosen(options), clock(of.plan->steps.size(), options.threads == 1), watch(clock.probe()),
      distinct(distinct), layer(of.package) {
  if (chosen.stages)
    layer.setProbe(&watch);
  layer.setDistinctGroups(uint32_t(distinct));
}

static Diagnostic noMemory(const char *what) {
  return Diagnostic::error("E-MEMORY", std::string("not enough memory for ") + what);
}

Result<> BenchedLayer::pack() {
  if (distinct && !(storage = std::make_unique<AliasedWeights>(*of.plan, distinct))->ready())
    return noMemory("the weights");
  if (distinct)
    layer.setWeightMemory(storage->data(), storage->size());
  BenchWeights weights;
  if (!makeBenchWeights(*of.facts, *parseSkew(chosen.skew), distinct > 0, weights))
    return noMemory("the weights");
  return layer.prepare(chosen.threads, -1, &weights.tensors);
}

Result<> BenchedLayer::packOrShare(const BenchedLayer &other) {
  shares = samePackedWeights(*of.plan, *other.of.plan) && distinct == other.distinct &&
           layer.prepareShared(chosen.threads, -1, other.layer);
  return shares ? Result<>() : pack();
}

void BenchedLayer::describe(BenchContext &context) const {
  const moec_plan_header &plan = of.plan->header;
  context.moecVersion = of.moecVersion;
  context.packageHash = of.packageHash;
  context.name = of.name;
  context.isa = info().isa_name;
  context.skew = chosen.skew;
  context.threads = chosen.threads;
  context.cold = !chosen.warm;
  context.specHash = identityText(plan);
  context.date = utcDate();
  context.inputType = dataTypeName(DataType(plan.x_dtype));
  context.weightType = dataTypeName(of.facts->matrixType());
  context.outputType = dataTypeName(DataType(plan.y_dtype));
  context.experts = plan.num_experts;
  context.distinctExperts = distinct;
  context.machine = machineFacts();
}

Result<std::vector<CallWork>> BenchedLayer::route(const BenchInputs &inputs, int64_t tokens) {
  std::vector<CallWork> work;
  layer.setInputs(&inputs.others());
  for (int v = 0; v < inputs.count(); ++v) {
    CallOutputs out(layer.info(), tokens, /*ask=*/0);
    if (!out.ready())
      return noMemory("the outputs");
    if (Result<> ran = out.run(layer, inputs.at(v)); !ran)
      return ran.takeError();
    for (double value : tokens ? out.yRow(tokens - 1) : std::vector<double>())
      if (!std::isfinite(value))
        return Diagnostic::error("E-INTERNAL", "y is not finite; moec verify tells more");
    work.push_back(workOf(*of.plan, tokens, out.counts));
  }
  return work;
}

Result<double> BenchedLayer::timeCall(int64_t tokens, const void *x, void *y) {
  if (chosen.warm)
    if (Result<> ran = layer.forward(tokens, x, y, LayerRun::noOptional()); !ran)
      return ran.takeError();
  clock.take();
  double start = wallSeconds();
  Result<> ran = layer.forward(tokens, x, y, LayerRun::noOptional());
  double end = wallSeconds();
  if (!ran)
    return ran.takeError();
  return (end - start) * 1e6;
}

int numVariants(int64_t tokens) { return tokens <= 64 ? 16 : 4; }

int64_t chooseDistinct(const BenchOptions &options, const PlanTables &plan, const BenchFacts &facts) {
  return options.distinct ? std::min<int64_t>(options.distinct, plan.header.num_experts)
                          : distinctExperts(plan, benchSourceBytes(facts));
}

double benchMemory(const BenchOptions &options, const PlanTables &plan, const BenchFacts &facts,
                   const std::vector<int64_t> &tokens, int64_t distinct) {
  int64_t most = 0;
  for (int64_t t : tokens)
    most = std::max(most, t);
  return packedBytes(plan, distinct) + benchWeightBytes(facts, distinct > 0) +
         double(workspaceBytes(plan, most, options.threads)) +
         4.0 * double(numVariants(most) + 1) * double(most) * double(facts.hidden);
}

std::optional<Diagnostic> sharedExpertsWarning(const BenchOptions &options, const PlanTables &plan, int64_t distinct) {
  if (!distinct || options.distinct)
    return std::nullopt;
  return Diagnostic::warning("W-SHARED",
                             "the experts do not all fit into memory: " + std::to_string(distinct) + " of " +
                                 std::to_string(plan.header.num_experts) +
                                 " have storage of their own, which the others share",
                             "times are those of weights that come from memory, results those of such a layer");
}

} // namespace moec
