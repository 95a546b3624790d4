// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec bench: a layer -> the time of a call for each T, beside what this machine could do at most in the same minute.
//
//   per round   probe, call, probe; the call's weights come from memory, because the probe before it read 128 MiB or
//               more of something else and consecutive calls take inputs that reach other experts

#include "CompileFlags.h"
#include "Supervisor.h"
#include "TextLayer.h"
#include "Verbs.h"
#include "codegen/bench/BenchReport.h"
#include "codegen/bench/BenchStages.h"
#include "codegen/bench/BenchWorkload.h"
#include "codegen/bench/Ceilings.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageLibrary.h"
#include "codegen/emulate/LoadedPackage.h"

#include "dsl/text/Sha256.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <chrono>
#include <cmath>
#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct BenchFlags {
  CompileFlags compile;
  std::string spec, tokens = "1,32,512", skew = "uniform", format = "md";
  int threads = 1, rounds = 0;
  int64_t distinct = 0;
  bool json = false, warm = false, ceilings = false, stages = false;
};

// A T whose rounds are being taken.
struct Measuring {
  LayerRun &layer;
  const BenchInputs &inputs;
  const std::vector<CallWork> &work; // per variant
  CeilingProbe &probe;
  const BenchFlags &flags;
  StageClock *clock; // null: times of steps are not asked for
};
} // namespace

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Without --rounds: until 15 rounds are accepted, at most 45 rounds and 12 seconds, at least 5 rounds.
static bool enough(const BenchFlags &flags, const BenchSeries &series, const ProbeResult &best, double spent) {
  if (flags.rounds)
    return int(series.rounds.size()) >= flags.rounds;
  size_t good = 0;
  for (const BenchRound &round : series.rounds)
    good += accepted(round, best);
  return series.rounds.size() >= 5 && (good >= 15 || series.rounds.size() >= 45 || spent > 12);
}

static Result<> measure(Measuring &m, BenchSeries &series) {
  m.layer.setInputs(&m.inputs.others());
  CallOutputs out(m.layer.info(), series.tokens, /*ask=*/0);
  if (!out.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the outputs");
  double begin = now();
  ProbeResult before = m.probe.probe();
  for (int i = 0; !enough(m.flags, series, m.probe.best(), now() - begin); ++i) {
    int variant = m.flags.warm ? 0 : i % m.inputs.count();
    const void *x = m.inputs.at(variant);
    auto call = [&] { return m.layer.forward(series.tokens, x, out.y.data(), LayerRun::noOptional()); };
    if (m.flags.warm)
      if (Result<> ran = call(); !ran)
        return ran;
    if (m.clock)
      m.clock->take();
    double start = now();
    Result<> ran = call();
    if (!ran)
      return ran;
    BenchRound round;
    round.us = (now() - start) * 1e6;
    if (m.clock)
      round.steps = m.clock->take();
    round.work = m.work[size_t(variant)];
    round.before = before;
    round.after = before = m.probe.probe();
    series.rounds.push_back(round);
  }
  return {};
}

// The first call of each variant also says where its tokens go, and whether its results are numbers at all.
static Result<std::vector<CallWork>> routeVariants(LayerRun &layer, const LaunchPlan &plan, const BenchInputs &inputs,
                                                   int64_t tokens) {
  std::vector<CallWork> work;
  layer.setInputs(&inputs.others());
  for (int v = 0; v < inputs.count(); ++v) {
    CallOutputs out(layer.info(), tokens, /*ask=*/0);
    if (!out.ready())
      return Diagnostic::error("E-MEMORY", "not enough memory for the outputs");
    if (Result<> ran = out.run(layer, inputs.at(v)); !ran)
      return ran.takeError();
    for (double value : tokens ? out.yRow(tokens - 1) : std::vector<double>())
      if (!std::isfinite(value))
        return Diagnostic::error("E-INTERNAL", "y is not finite; moec verify tells more");
    work.push_back(workOf(plan, tokens, out.counts));
  }
  return work;
}

// Two lines on stderr while it runs: nobody should wonder whether it hangs.
static void sayProgress(Session &session, const BenchSeries &series, const ProbeResult &best) {
  if (session.quiet)
    return;
  BenchFigures figures = figuresOf(series, best);
  session.err << format("  T = %-6lld ", (long long)series.tokens);
  if (figures.accepted)
    session.err << format("%12.1f us  ", figures.usMedian);
  if (figures.withheld == Withheld::Nothing)
    session.err << format("%5.1f %% of the bound, ", 100 * figures.share);
  session.err << figures.accepted << " of " << figures.rounds << " rounds accepted\n";
}

// Figures that are not reported, and why.
static void warnOfWithheld(Session &session, const BenchRun &run) {
  for (const BenchSeries &series : run.series) {
    std::string at = "T=" + std::to_string(series.tokens) + ": ";
    Withheld reason = figuresOf(series, run.ceilings).withheld;
    if (reason == Withheld::NoRound)
      warn(session, "W-SPREAD", at + "no round was accepted, so no time is reported",
           "run again when the machine is quiet, or with more --rounds");
    if (reason == Withheld::AboveCeiling)
      warn(session, "W-CEILING", at + "the calls were faster than the probed ceilings allow, so no share is reported",
           "run again, so that the ceilings are probed again");
  }
}

namespace {
// A layer with packed weights, and what watches its calls.
struct BenchedLayer {
  std::unique_ptr<LoadedPackage> package;
  std::unique_ptr<AliasedWeights> storage; // null: every expert has its own
  StageClock clock;
  moec_walk_probe watch;
  LayerRun layer;

  BenchedLayer(std::unique_ptr<LoadedPackage> loaded, size_t numSteps, bool oneThread, uint32_t distinct)
      : package(std::move(loaded)), clock(numSteps, oneThread), watch(clock.probe(distinct)), layer(package->get()) {}
};
} // namespace

static int noMemory(Session &session, const char *what) {
  return fail(session, "E-MEMORY", std::string("not enough memory for ") + what);
}

// Packs the weights; where they do not fit, or --distinct-experts says so, experts share storage.
static int packWeights(Session &session, const BenchFlags &flags, const BenchFacts &facts, const LaunchPlan &plan,
                       BenchedLayer &benched) {
  int64_t distinct = benched.watch.distinct_groups;
  if (distinct && !(benched.storage = std::make_unique<AliasedWeights>(plan, distinct))->ready())
    return noMemory(session, "the weights");
  if (distinct)
    benched.layer.setWeightMemory(benched.storage->data(), benched.storage->size());
  if (distinct && !flags.distinct)
    warn(session, "W-SHARED",
         "the experts do not all fit into memory: " + std::to_string(distinct) + " of " +
             std::to_string(plan.header.num_experts) + " have storage of their own, which the others share",
         "times are those of weights that come from memory, results those of such a layer");
  if (!flags.stages)
    benched.watch.on_step = nullptr;
  if (flags.stages || distinct)
    benched.layer.setProbe(&benched.watch);
  BenchWeights weights;
  if (!makeBenchWeights(facts, *parseSkew(flags.skew), distinct > 0, weights))
    return noMemory(session, "the weights");
  Result<> prepared = benched.layer.prepare(flags.threads, -1, &weights.tensors);
  return prepared ? int(ExitDone) : fail(session, prepared.error());
}

// Facts of the package, this machine and this moment.
static Result<> describe(const CompiledPackage &compiled, BenchContext &context) {
  Result<std::string> library = archiveBytes(compiled);
  if (!library)
    return library.takeError();
  const moec_plan_header &plan = compiled.plan.header;
  Sha256Digest spec;
  std::copy(std::begin(plan.spec_hash), std::end(plan.spec_hash), spec.begin());
  context.name = compiled.name;
  context.moecVersion = moecVersion();
  context.specHash = hexText(spec);
  context.packageHash = hexText(sha256(*library));
  context.date = utcDate();
  context.inputType = dataTypeName(DataType(plan.x_dtype));
  context.outputType = dataTypeName(DataType(plan.y_dtype));
  context.experts = plan.num_experts;
  context.machine = machineFacts();
  return {};
}

static int benchLayer(Session &session, const BenchFlags &flags, const BenchFacts &facts,
                      const CompiledPackage &compiled, const std::vector<int64_t> &tokens) {
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(compiled);
  if (!package)
    return fail(session, package.error());
  BenchRun run;
  if (Result<> described = describe(compiled, run); !described)
    return fail(session, described.error());
  run.distinctExperts =
      flags.distinct ? std::min(flags.distinct, run.experts) : distinctExperts(compiled.plan, benchSourceBytes(facts));
  BenchedLayer benched(std::move(*package), compiled.plan.steps.size(), flags.threads == 1,
                       uint32_t(run.distinctExperts));
  if (int code = packWeights(session, flags, facts, compiled.plan, benched))
    return code;
  LayerRun &layer = benched.layer;
  PeakKind peak = peakOf(layer.info().isa, facts.matrixType() == DataType::BF16);
  CeilingProbe probe(peak, flags.threads);
  if (!probe.ready())
    return noMemory(session, "the read probe");
  probe.calibrate();
  run.isa = layer.info().isa_name;
  run.weightType = dataTypeName(facts.matrixType());
  run.skew = flags.skew;
  run.peak = peakName(peak);
  run.threads = flags.threads;
  run.cold = !flags.warm;
  if (flags.stages)
    run.steps = benchSteps(compiled.plan);
  for (int64_t t : tokens) {
    BenchInputs inputs(facts, t, t <= 64 ? 16 : 4);
    if (!inputs.ready())
      return noMemory(session, "the inputs");
    Result<std::vector<CallWork>> work = routeVariants(layer, compiled.plan, inputs, t);
    if (!work)
      return fail(session, work.error().within("T=" + std::to_string(t)));
    BenchSeries series;
    series.tokens = t;
    Measuring measuring{layer, inputs, *work, probe, flags, flags.stages ? &benched.clock : nullptr};
    if (Result<> measured = measure(measuring, series); !measured)
      return fail(session, measured.error().within("T=" + std::to_string(t)));
    sayProgress(session, series, probe.best());
    run.series.push_back(std::move(series));
  }
  run.ceilings = probe.best();
  run.pattern = probe.pattern();
  warnOfWithheld(session, run);
  writeReport(session.out, run, flags.json ? "json" : flags.format);
  return ExitDone;
}

// The ceilings alone, for scripts that measure something else beside them.
static int printCeilings(Session &session, const BenchFlags &flags) {
  PeakKind peak = peakOf(moec_cpu_isa(), true);
  CeilingProbe probe(peak, flags.threads);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  probe.probe();
  if (flags.json) {
    json::OStream os(session.out, 2);
    os.object([&] {
      os.attribute("compute_gflops", std::round(probe.best().gflops * 10) / 10);
      os.attribute("compute_kind", peakName(peak));
      os.attribute("read_gbps", std::round(probe.best().gbps * 100) / 100);
      os.attribute("read_pattern", probe.pattern());
    });
    session.out << "\n";
    return ExitDone;
  }
  session.out << format("compute_gflops %.1f\nread_gbps %.2f\n", probe.best().gflops, probe.best().gbps);
  return ExitDone;
}

// What there is to know of the layer; its text is parsed into `text`.
static int loadFacts(Session &session, const BenchFlags &flags, const SpecInput &input,
                     std::unique_ptr<TextLayer> &text, BenchFacts &facts) {
  if (!input.isMoeText) {
    facts = benchFacts(input.spec);
    return ExitDone;
  }
  if (!(text = TextLayer::parse(session, input)))
    return ExitInvalid;
  facts.hidden = text->hidden;
  facts.choices = text->choices;
  facts.activation = text->activation;
  for (const TextTensor &tensor : text->tensors)
    facts.tensors.push_back({tensor.role, tensor.type});
  facts.drawInputs = [&layer = *text](int64_t tokens, CallInputs &inputs) {
    std::map<std::string, std::vector<double>> unused;
    layer.randomInputs(tokens, 7, inputs, unused);
  };
  if (flags.skew == "uniform" || facts.hasRouter())
    return ExitDone;
  return fail(session, "E-UNSUPPORTED",
              "--skew " + flags.skew + " acts on the parameter router.weight, and this layer has none",
              "give the router's matrix that moe.role");
}

static int runBench(Session &session, const BenchFlags &flags) {
  if (flags.ceilings)
    return printCeilings(session, flags);
  if (flags.spec.empty())
    return fail(session, "E-USAGE", "no spec was named", "moec bench layer.json --tokens 1,32,512");
  SpecInput input;
  CompileOptions options;
  std::vector<int64_t> tokens;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (!options.archs.empty())
    return fail(session, "E-UNSUPPORTED",
                "moec bench measures CPU targets; CUDA kernels are measured by "
                "tests/cuda/run.sh on a machine with a GPU",
                "leave the cuda targets out");
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, tokens))
    return code;
  if (int code = loadSpec(session, flags.spec, flags.compile, input))
    return code;
  std::unique_ptr<TextLayer> text;
  BenchFacts facts;
  if (int code = loadFacts(session, flags, input, text, facts))
    return code;
  int exit = ExitDone;
  std::unique_ptr<CompiledPackage> compiled = compile(session, input, options, exit);
  if (!compiled)
    return exit;
  enterStage("bench");
  return benchLayer(session, flags, facts, *compiled, tokens);
}

Verb addBench(CLI::App &app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App *verb = app.add_subcommand("bench", "time a layer beside this machine's ceilings");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, or preset");
  verb->add_option("--tokens", flags->tokens, "token counts: 1,2,4-64*2,100-108")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--threads", flags->threads, "threads of a call and of the probes")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--rounds", flags->rounds, "calls per T; default: until 15 are accepted")
      ->check(CLI::Range(1, 100000));
  verb->add_option("--skew", flags->skew, "routing: uniform, zipf, one-hot")
      ->check(CLI::IsMember({"uniform", "zipf", "one-hot"}))
      ->capture_default_str();
  verb->add_option("--format", flags->format, "md, csv, json or jsonl")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->capture_default_str();
  verb->add_flag("--json", flags->json, "the same as --format json");
  verb->add_flag("--stages", flags->stages, "time every step of a call too: router, route, dispatch, matmuls, combine");
  verb->add_option("--distinct-experts", flags->distinct,
                   "experts with storage of their own, which the others share; default: all, or as many as fit")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  verb->add_flag("--warm", flags->warm, "repeat one input, so that its weights may be in cache");
  verb->add_flag("--ceilings", flags->ceilings, "only probe the machine");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runBench(session, *flags); }};
}

} // namespace moec
