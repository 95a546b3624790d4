// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Flags in -> a layer whose calls can be timed out.

#include "BenchLayer.h"

#include "Supervisor.h"

#include "codegen/bench/Clocks.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageLibrary.h"

#include "dsl/text/Sha256.h"

#include <algorithm>
#include <cmath>

namespace moec {

// What there is to know of the layer; its text is parsed.
static int loadFacts(Session &session, const BenchFlags &flags, BenchSubject &out) {
  if (!out.input.isMoeText) {
    out.facts = benchFacts(out.input.spec);
    return ExitDone;
  }
  if (!(out.text = TextLayer::parse(session, out.input)))
    return ExitInvalid;
  out.facts.hidden = out.text->hidden;
  out.facts.choices = out.text->choices;
  out.facts.activation = out.text->activation;
  for (const TextTensor &tensor : out.text->tensors)
    out.facts.tensors.push_back({tensor.role, tensor.type});
  out.facts.drawInputs = [layer = out.text.get()](int64_t tokens, CallInputs &inputs) {
    std::map<std::string, std::vector<double>> unused;
    layer->randomInputs(tokens, 7, inputs, unused);
  };
  if (flags.skew == "uniform" || out.facts.hasRouter())
    return ExitDone;
  return fail(session, "E-UNSUPPORTED",
              "--skew " + flags.skew + " acts on the parameter router.weight, and this layer has none",
              "give the router's matrix that moe.role");
}

int loadSubject(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &spec,
                BenchSubject &out) {
  CompileOptions options;
  if (int code = compileOptions(session, compileFlags, options))
    return code;
  if (!options.archs.empty())
    return fail(session, "E-UNSUPPORTED",
                "moec bench measures CPU targets; CUDA kernels are measured by "
                "tests/cuda/run.sh on a machine with a GPU",
                "leave the cuda targets out");
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, out.tokens))
    return code;
  if (int code = loadSpec(session, spec, compileFlags, out.input))
    return code;
  if (int code = loadFacts(session, flags, out))
    return code;
  int exit = ExitDone;
  out.compiled = compile(session, out.input, options, exit);
  return exit;
}

int loadPackage(Session &session, const BenchFlags &flags, const std::string &folder, BenchSubject &out) {
  Result<std::unique_ptr<PackageOnDisk>> package = openPackage(folder);
  if (!package)
    return fail(session, package.error());
  out.package = std::move(*package);
  if (int code = tokenCounts(session, flags.tokens, out.plan().header.max_tokens, out.tokens))
    return code;
  out.knowsFacts = !out.package->specFile.empty();
  if (!out.knowsFacts)
    return ExitDone;
  if (int code = loadSpec(session, out.package->specFile, flags.compile, out.input))
    return code;
  return loadFacts(session, flags, out);
}

BenchedLayer::BenchedLayer(const BenchSubject &subject, std::unique_ptr<LoadedPackage> loaded, const BenchFlags &flags,
                           int64_t distinct)
    : subject(subject), package(std::move(loaded)), clock(subject.plan().steps.size(), flags.threads == 1),
      watch(clock.probe()), distinct(distinct), layer(package->get()) {
  if (flags.stages)
    layer.setProbe(&watch);
  layer.setDistinctGroups(uint32_t(distinct));
}

Result<std::unique_ptr<BenchedLayer>> BenchedLayer::load(const BenchSubject &subject, const BenchFlags &flags,
                                                         int64_t distinct) {
  Result<std::unique_ptr<LoadedPackage>> package =
      subject.package ? subject.package->load() : LoadedPackage::load(*subject.compiled);
  if (!package)
    return package.takeError();
  return std::unique_ptr<BenchedLayer>(new BenchedLayer(subject, std::move(*package), flags, distinct));
}

double benchMemory(const BenchSubject &subject, const BenchFlags &flags, int64_t distinct) {
  int64_t most = 0;
  for (int64_t t : subject.tokens)
    most = std::max(most, t);
  return packedBytes(subject.plan(), distinct) + benchWeightBytes(subject.facts, distinct > 0) +
         double(workspaceBytes(subject.plan(), most, flags.threads)) +
         4.0 * double(numVariants(most) + 1) * double(most) * double(subject.facts.hidden);
}

static Diagnostic noMemory(const char *what) {
  return Diagnostic::error("E-MEMORY", std::string("not enough memory for ") + what);
}

Result<> BenchedLayer::pack(const BenchFlags &flags) {
  if (distinct && !(storage = std::make_unique<AliasedWeights>(subject.plan(), distinct))->ready())
    return noMemory("the weights");
  if (distinct)
    layer.setWeightMemory(storage->data(), storage->size());
  BenchWeights weights;
  if (!makeBenchWeights(subject.facts, *parseSkew(flags.skew), distinct > 0, weights))
    return noMemory("the weights");
  return layer.prepare(flags.threads, -1, &weights.tensors);
}

Result<> BenchedLayer::packOrShare(const BenchFlags &flags, const BenchedLayer &other) {
  shares = samePackedWeights(subject.plan(), other.subject.plan()) && distinct == other.distinct &&
           layer.prepareShared(flags.threads, -1, other.layer);
  return shares ? Result<>() : pack(flags);
}

Result<> BenchedLayer::describe(const BenchFlags &flags, BenchContext &context) const {
  context.moecVersion = moecVersion();
  if (subject.package) {
    context.moecVersion = subject.package->moecVersion;
    context.packageHash = subject.package->libraryHash;
  } else {
    Result<std::string> library = archiveBytes(*subject.compiled);
    if (!library)
      return library.takeError();
    context.packageHash = hexText(sha256(*library));
  }
  const moec_plan_header &plan = subject.plan().header;
  context.name = subject.code().name;
  context.isa = info().isa_name;
  context.skew = flags.skew;
  context.threads = flags.threads;
  context.cold = !flags.warm;
  context.specHash = specHashText(subject.plan());
  context.date = utcDate();
  context.inputType = dataTypeName(DataType(plan.x_dtype));
  context.weightType = dataTypeName(subject.facts.matrixType());
  context.outputType = dataTypeName(DataType(plan.y_dtype));
  context.experts = plan.num_experts;
  context.distinctExperts = distinct;
  context.machine = machineFacts();
  return {};
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
    work.push_back(workOf(subject.plan(), tokens, out.counts));
  }
  return work;
}

Result<double> BenchedLayer::timeCall(int64_t tokens, const void *x, void *y, bool warm) {
  if (warm)
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

void warnOfSharedExperts(Session &session, const BenchFlags &flags, const BenchSubject &subject, int64_t distinct) {
  if (distinct && !flags.distinct)
    warn(session, "W-SHARED",
         "the experts do not all fit into memory: " + std::to_string(distinct) + " of " +
             std::to_string(subject.plan().header.num_experts) + " have storage of their own, which the others share",
         "times are those of weights that come from memory, results those of such a layer");
}

int numVariants(int64_t tokens) { return tokens <= 64 ? 16 : 4; }

} // namespace moec
