// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in -> a layer whose calls can be timed out.

#include "BenchedLayer.h"

#include "Clocks.h"

#include "codegen/MemoryNeed.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/package/CallMemory.h"

#include <algorithm>
#include <cmath>

namespace moec {

BenchedLayer::BenchedLayer(BenchPackage package, const BenchOptions &options, int64_t distinct)
    : of(std::move(package)), chosen(options), timed(*benchPasses(options, of.backward)),
      clock(std::max(of.plan->steps.size(), of.backward ? of.backward->steps.size() : 0), options.threads == 1),
      watch(clock.probe()), distinct(distinct), layer(of.package) {
  if (chosen.stages)
    layer.setProbe(&watch);
  layer.setDistinctGroups(uint32_t(distinct));
}

static bool hasBackward(const std::vector<BenchPass> &passes) {
  return std::find(passes.begin(), passes.end(), BenchPass::Backward) != passes.end();
}

Result<std::vector<BenchPass>> benchPasses(const BenchOptions &options, bool trains) {
  std::vector<BenchPass> passes = {BenchPass::Saving, BenchPass::Backward};
  if (options.pass == "forward" || (options.pass.empty() && !trains))
    passes = {BenchPass::Forward};
  else if (options.pass == "backward")
    passes = {BenchPass::Backward};
  if (!hasBackward(passes))
    return passes;
  if (!trains)
    return Diagnostic::error("E-UNSUPPORTED", "--pass " + options.pass + ": the layer has no backward pass",
                             "a spec with \"passes\": [\"forward\", \"backward\"] has one");
  if (options.distinct)
    return Diagnostic::error("E-USAGE",
                             "--distinct-experts is for forward calls: a backward call writes the gradients "
                             "of every expert",
                             "add --pass forward");
  return passes;
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
  if (hasBackward(timed))
    context.gradientType = dataTypeName(gradientType());
  context.experts = plan.num_experts;
  context.distinctExperts = distinct;
  context.machine = machineFacts();
}

Result<std::vector<PassWork>> BenchedLayer::route(const BenchInputs &inputs, int64_t tokens) {
  std::vector<PassWork> work;
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
    work.push_back({workOf(*of.plan, tokens, out.counts), {}});
    if (hasBackward(timed))
      work.back().backward = workOf(*of.backward, tokens, out.counts, gradientType());
  }
  if (hasBackward(timed))
    if (Result<> trained = train(inputs, tokens); !trained)
      return trained.takeError();
  return work;
}

// The first calls that save and that make gradients, on the last variant.
Result<> BenchedLayer::train(const BenchInputs &inputs, int64_t tokens) {
  training.reset(); // before there is another one
  Result<TrainingMemory> memory = TrainingMemory::make(layer, *of.backward, tokens, gradientType());
  if (!memory)
    return memory.takeError();
  training = std::make_unique<TrainingMemory>(std::move(*memory));
  CallOutputs out(layer.info(), tokens, /*ask=*/0);
  if (!out.ready())
    return noMemory("the outputs");
  for (BenchPass pass : {BenchPass::Saving, BenchPass::Backward})
    if (Result<> ran = call(pass, tokens, inputs.at(inputs.count() - 1), out.y.data()); !ran)
      return ran;
  const Gradient *dx = training->gradients.find("x");
  for (int64_t i = 0; dx && i < dx->numElements(); ++i)
    if (!std::isfinite(loadElement(dx->data(), dx->type, i)))
      return Diagnostic::error("E-INTERNAL", "the gradient of x is not finite; moec verify --grad tells more");
  return {};
}

Result<> BenchedLayer::call(BenchPass pass, int64_t tokens, const void *x, void *y) {
  if (pass == BenchPass::Backward) {
    moec_backward_args args = {};
    training->fill(args);
    return layer.backward(tokens, x, args);
  }
  moec_forward_args args = LayerRun::noOptional();
  if (pass == BenchPass::Saving)
    training->save(args);
  return layer.forward(tokens, x, y, args);
}

std::vector<StepTime> BenchedLayer::takeSteps(BenchPass pass) {
  std::vector<StepTime> steps = clock.take();
  steps.resize(planOf(pass).steps.size());
  return steps;
}

Result<double> BenchedLayer::timeCall(BenchPass pass, int64_t tokens, const void *x, void *y) {
  if (chosen.warm)
    if (Result<> ran = call(pass, tokens, x, y); !ran)
      return ran.takeError();
  clock.take();
  double start = wallSeconds();
  Result<> ran = call(pass, tokens, x, y);
  double end = wallSeconds();
  if (!ran)
    return ran.takeError();
  return (end - start) * 1e6;
}

int numVariants(int64_t tokens) { return tokens <= 64 ? 16 : 4; }

int64_t chooseDistinct(const BenchOptions &options, const BenchPackage &of) {
  if (hasBackward(*benchPasses(options, of.backward)))
    return 0;
  return options.distinct ? std::min<int64_t>(options.distinct, of.plan->header.num_experts)
                          : distinctExperts(*of.plan, benchSourceBytes(*of.facts));
}

double benchMemory(const BenchOptions &options, const BenchPackage &of, const std::vector<int64_t> &tokens,
                   int64_t distinct) {
  int64_t most = 0;
  for (int64_t t : tokens)
    most = std::max(most, t);
  auto workspace = double(workspaceBytes(*of.plan, most, options.threads));
  double training = 0;
  if (hasBackward(*benchPasses(options, of.backward))) {
    training = trainingBytes(*of.plan, *of.backward, most, of.facts->matrixType());
    workspace = std::max(workspace, double(workspaceBytes(*of.backward, most, options.threads)));
  }
  return packedBytes(*of.plan, distinct) + benchWeightBytes(*of.facts, distinct > 0) + workspace + training +
         4.0 * double(numVariants(most) + 1) * double(most) * double(of.facts->hidden);
}

Result<> checkBenchMemory(const BenchOptions &options, const BenchPackage &of, const std::vector<int64_t> &tokens,
                          int64_t distinct) {
  Result<> fits = checkMemory(benchMemory(options, of, tokens, distinct), "bench");
  if (fits || !hasBackward(*benchPasses(options, of.backward)))
    return fits;
  Diagnostic error = fits.error();
  error.hint += "; --pass forward needs no gradients";
  return error;
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
