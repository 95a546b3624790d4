// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec bench: a layer -> the time of a call for each T, beside what this machine could do at most in the same minute.
//
//   per round   probe, call, probe; the call's weights come from memory, because the probe before it read 128 MiB or
//               more of something else and consecutive calls take inputs that reach other experts

#include "BenchAgainst.h"
#include "BenchLayer.h"
#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/MemoryNeed.h"
#include "codegen/bench/BenchReport.h"
#include "codegen/bench/BenchStages.h"
#include "codegen/bench/BenchWorkload.h"
#include "codegen/bench/Ceilings.h"
#include "codegen/bench/Clocks.h"
#include "codegen/check/OutputCheck.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cmath>
#include <memory>

using namespace llvm;

namespace moec {

namespace {
// A T whose rounds are being taken.
struct Measuring {
  BenchedLayer &layer;
  const BenchInputs &inputs;
  const std::vector<CallWork> &work; // per variant
  CeilingProbe &probe;
  const BenchFlags &flags;
};
} // namespace

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
  CallOutputs out(m.layer.info(), series.tokens, /*ask=*/0);
  if (!out.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the outputs");
  double begin = wallSeconds();
  ProbeResult before = m.probe.probe();
  for (int i = 0; !enough(m.flags, series, m.probe.best(), wallSeconds() - begin); ++i) {
    int variant = m.flags.warm ? 0 : i % m.inputs.count();
    Result<double> us = m.layer.timeCall(series.tokens, m.inputs.at(variant), out.y.data(), m.flags.warm);
    if (!us)
      return us.takeError();
    BenchRound round;
    round.us = *us;
    if (m.flags.stages)
      round.steps = m.layer.takeSteps();
    round.work = m.work[size_t(variant)];
    round.before = before;
    round.after = before = m.probe.probe();
    series.rounds.push_back(round);
  }
  return {};
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

static int benchLayer(Session &session, const BenchFlags &flags, const BenchSubject &subject) {
  const BenchFacts &facts = subject.facts;
  int64_t experts = subject.plan().header.num_experts;
  int64_t distinct =
      flags.distinct ? std::min(flags.distinct, experts) : distinctExperts(subject.plan(), benchSourceBytes(facts));
  warnOfSharedExperts(session, flags, subject, distinct);
  if (Result<> fits = checkMemory(benchMemory(subject, flags, distinct), "bench"); !fits)
    return fail(session, fits.error());
  Result<std::unique_ptr<BenchedLayer>> loaded = BenchedLayer::load(subject, flags, distinct);
  if (!loaded)
    return fail(session, loaded.error());
  BenchedLayer &layer = **loaded;
  if (Result<> packed = layer.pack(flags); !packed)
    return fail(session, packed.error());
  BenchRun run;
  if (Result<> described = layer.describe(flags, run); !described)
    return fail(session, described.error());
  CeilingProbe probe(facts.factors(), flags.threads);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  if (flags.stages)
    run.steps = benchSteps(subject.plan());
  for (int64_t t : subject.tokens) {
    BenchInputs inputs(facts, t, numVariants(t));
    if (!inputs.ready())
      return fail(session, "E-MEMORY", "not enough memory for the inputs");
    Result<std::vector<CallWork>> work = layer.route(inputs, t);
    if (!work)
      return fail(session, work.error().within("T=" + std::to_string(t)));
    BenchSeries series;
    series.tokens = t;
    Measuring measuring{layer, inputs, *work, probe, flags};
    if (Result<> measured = measure(measuring, series); !measured)
      return fail(session, measured.error().within("T=" + std::to_string(t)));
    sayProgress(session, series, probe.best());
    run.series.push_back(std::move(series));
  }
  run.take(probe);
  warnOfWithheld(session, run);
  writeReport(session.out, run, flags.json ? "json" : flags.format);
  return ExitDone;
}

// The ceilings alone, for scripts that measure something else beside them.
static int printCeilings(Session &session, const BenchFlags &flags) {
  CeilingProbe probe(Factors::Bf16, flags.threads);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  probe.probe();
  if (flags.json) {
    BenchCeilings ceilings;
    ceilings.take(probe);
    json::OStream os(session.out, 2);
    os.object([&] { writeCeilings(os, ceilings); });
    session.out << "\n";
    return ExitDone;
  }
  session.out << format("compute_gflops %.1f\nread_gbps %.2f\n", probe.best().gflops, probe.best().gbps);
  for (const PeakRate &unit : probe.units())
    session.out << format("%.1f G/s %s\n", unit.gflops, peakName(unit.kind));
  return ExitDone;
}

static int runBench(Session &session, const BenchFlags &flags) {
  if (flags.ceilings)
    return printCeilings(session, flags);
  if (flags.spec.empty())
    return fail(session, "E-USAGE", "no spec was named", "moec bench layer.json --tokens 1,32,512");
  if (flags.comparesTwo())
    return benchAgainst(session, flags);
  BenchSubject subject;
  if (int code = loadSubject(session, flags, flags.compile, flags.spec, subject))
    return code;
  enterStage("bench");
  return benchLayer(session, flags, subject);
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
  verb->add_option("--against", flags->against,
                   "measure another layer beside this one, calls alternating: a spec, or a folder that moec compile "
                   "wrote; prints the ratio")
      ->type_name("SPEC|DIR");
  verb->add_option("--schedule-b", flags->scheduleB,
                   "schedule of the second layer, which is SPEC itself without --against")
      ->type_name("FILE");
  verb->add_option("--tuning-b", flags->tuningB,
                   "records that the second layer uses in place of --tuning; none: heuristics alone")
      ->type_name("FILE");
  verb->add_option("--distinct-experts", flags->distinct,
                   "experts with storage of their own, which the others share; default: all, or as many as fit")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  verb->add_flag("--warm", flags->warm, "repeat one input, so that its weights may be in cache");
  verb->add_flag("--ceilings", flags->ceilings, "only probe the machine");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runBench(session, *flags); }};
}

} // namespace moec
