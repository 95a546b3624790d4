// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two layers in -> pairs of timed calls out.

#include "BenchAgainst.h"

#include "Supervisor.h"

#include "codegen/MemoryNeed.h"
#include "codegen/bench/Ceilings.h"
#include "codegen/bench/Clocks.h"
#include "codegen/bench/FigureText.h"
#include "codegen/bench/PairReport.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/emit/Manifest.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <algorithm>
#include <sstream>

using namespace llvm;

namespace moec {

namespace {
// One side of a T.
struct Side {
  BenchedLayer &layer;
  BenchInputs inputs;
  CallOutputs out;
  std::vector<PassWork> work; // per variant

  Side(BenchedLayer &layer, const BenchFacts &facts, int64_t tokens)
      : layer(layer), inputs(facts, tokens, numVariants(tokens)), out(layer.info(), tokens, /*ask=*/0) {}
};
} // namespace

// Without --rounds: until 15 pairs of each pass count, at most 45 pairs and 24 seconds for each pass, at least 6 pairs,
// which an interval needs.
static bool enough(const BenchFlags &flags, const std::vector<PairSeries> &passes, const ProbeResult &best,
                   double spent) {
  size_t taken = passes.front().pairs.size(), good = taken;
  if (flags.rounds)
    return int(taken) >= flags.rounds;
  for (const PairSeries &series : passes)
    good = std::min(good, acceptedPairs(series, best).size());
  return taken >= 6 && (good >= 15 || taken >= 45 || spent > 24 * double(passes.size()));
}

// A call between `before` and a new probe.
static Result<BenchRound> takeRound(Side &side, const PairSeries &series, int variant, CeilingProbe &probe,
                                    const ProbeResult &before) {
  BenchRound round;
  Result<double> us = side.layer.timeCall(series.pass, series.tokens, side.inputs.at(variant), side.out.y.data());
  if (!us)
    return us.takeError();
  round.us = *us;
  round.work = side.work[size_t(variant)].of(series.pass);
  round.before = before;
  round.after = probe.probe();
  return round;
}

// Both calls of a pair take inputs of the same variant, so that equal layers route alike.
// One series per pass, all of the same T; the passes alternate.
static Result<> measure(Side &a, Side &b, const BenchFlags &flags, CeilingProbe &probe,
                        std::vector<PairSeries> &passes) {
  double begin = wallSeconds();
  ProbeResult before = probe.probe();
  for (int i = 0; !enough(flags, passes, probe.best(), wallSeconds() - begin); ++i) {
    int variant = flags.warm ? 0 : i % a.inputs.count();
    bool aFirst = i % 2 == 0;
    if (passes.front().pass == BenchPass::Backward) { // what it reads
      for (Side *side : {&a, &b})
        if (Result<> saved = side->layer.call(BenchPass::Saving, passes.front().tokens, side->inputs.at(variant),
                                              side->out.y.data());
            !saved)
          return saved;
      before = probe.probe();
    }
    for (PairSeries &series : passes) {
      Result<BenchRound> first = takeRound(aFirst ? a : b, series, variant, probe, before);
      if (!first)
        return first.takeError();
      Result<BenchRound> second = takeRound(aFirst ? b : a, series, variant, probe, first->after);
      if (!second)
        return second.takeError();
      before = second->after;
      series.pairs.emplace_back(aFirst ? *first : *second, aFirst ? *second : *first);
    }
  }
  return {};
}

static Result<> prepareSide(Side &side, int64_t tokens) {
  if (!side.inputs.ready() || !side.out.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for inputs and outputs");
  Result<std::vector<PassWork>> work = side.layer.route(side.inputs, tokens);
  if (!work)
    return work.takeError();
  side.work = std::move(*work);
  return {};
}

static void sayProgress(Session &session, const PairRun &run, const PairSeries &series) {
  if (session.quiet)
    return;
  RatioRow row = ratioOf(run, series);
  session.err << format("  T = %-6lld ", (long long)series.tokens)
              << (series.pass == BenchPass::Forward ? "" : std::string(passText(series.pass)) + " ") << "b / a "
              << fixedText(row.ratio.ratio, 4) << ", " << row.roundsA << " of " << series.pairs.size()
              << " pairs accepted\n";
}

// Experts with storage of their own, for both. Layers with equally many experts get equally many.
static std::pair<int64_t, int64_t> chooseDistinct(const BenchFlags &flags, const BenchSubject &a,
                                                  const BenchSubject &b) {
  if (flags.pass != "forward")
    return {0, 0};
  int64_t expertsA = a.plan().header.num_experts, expertsB = b.plan().header.num_experts;
  if (flags.distinct)
    return {std::min(flags.distinct, expertsA), std::min(flags.distinct, expertsB)};
  int64_t source = std::max(benchSourceBytes(a.facts), benchSourceBytes(b.facts));
  if (samePackedWeights(a.plan(), b.plan())) {
    int64_t distinct = distinctExperts(a.plan(), source);
    return {distinct, distinct};
  }
  int64_t ownA = distinctExperts(a.plan(), source + int64_t(b.plan().packedBytes()), 2),
          ownB = distinctExperts(b.plan(), source + int64_t(a.plan().packedBytes()), 2);
  if (expertsA == expertsB && ownA && ownB)
    ownA = ownB = std::min(ownA, ownB);
  return {ownA, ownB};
}

static int fail(Session &session, int64_t tokens, const Diagnostic &error) {
  return fail(session, error.within("T=" + std::to_string(tokens)));
}

// Backward calls are compared if both layers have them.
static int choosePasses(Session &session, const BenchSubject &a, const BenchSubject &b, BenchFlags &flags) {
  bool both = a.trains() && b.trains();
  if (Result<std::vector<BenchPass>> passes = benchPasses(flags, both); !passes)
    return fail(session, passes.error());
  if (flags.pass.empty())
    flags.pass = both ? "both" : "forward";
  return ExitDone;
}

int measurePairs(Session &session, const BenchFlags &given, const BenchSubject &subjectA, const BenchSubject &subjectB,
                 PairRun &run) {
  BenchFlags flags = given;
  if (int code = choosePasses(session, subjectA, subjectB, flags))
    return code;
  auto [distinctA, distinctB] = chooseDistinct(flags, subjectA, subjectB);
  auto warnOfShared = [&](const BenchSubject &subject, int64_t distinct) {
    if (std::optional<Diagnostic> warning = sharedExpertsWarning(flags, subject.plan(), distinct))
      warnAll(session, {*warning});
  };
  warnOfShared(subjectA, distinctA);
  if (distinctB != distinctA)
    warnOfShared(subjectB, distinctB);
  auto bytesOf = [&](const BenchSubject &subject, int64_t distinct) {
    return benchMemory(flags, subject.tables(), subject.tokens, distinct);
  };
  double bytes = bytesOf(subjectA, distinctA) + bytesOf(subjectB, distinctB);
  if (distinctA == distinctB && samePackedWeights(subjectA.plan(), subjectB.plan())) // B uses those of A
    bytes -= packedBytes(subjectB.plan(), distinctB);
  if (Result<> fits = checkMemory(bytes, "bench"); !fits)
    return fail(session, fits.error());
  Result<LoadedSubject> loadedA = LoadedSubject::load(subjectA, flags, distinctA);
  if (!loadedA)
    return fail(session, loadedA.error());
  Result<LoadedSubject> loadedB = LoadedSubject::load(subjectB, flags, distinctB);
  if (!loadedB)
    return fail(session, loadedB.error());
  BenchedLayer &a = *loadedA->layer, &b = *loadedB->layer;
  if (Result<> packed = a.pack(); !packed)
    return fail(session, packed.error());
  if (Result<> packed = b.packOrShare(a); !packed)
    return fail(session, packed.error());
  run.sharedWeights = b.sharesWeights();
  a.describe(run.a);
  b.describe(run.b);
  CeilingProbe probe(subjectA.facts.factors(), flags.threads);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  for (int64_t t : subjectA.tokens) {
    Side sideA(a, subjectA.facts, t), sideB(b, subjectB.facts, t);
    for (Side *side : {&sideA, &sideB})
      if (Result<> prepared = prepareSide(*side, t); !prepared)
        return fail(session, t, prepared.error());
    std::vector<PairSeries> passes;
    for (BenchPass pass : a.passes())
      passes.push_back({t, pass, {}});
    if (Result<> measured = measure(sideA, sideB, flags, probe, passes); !measured)
      return fail(session, t, measured.error());
    run.take(probe);
    for (PairSeries &series : passes) {
      sayProgress(session, run, series);
      run.series.push_back(std::move(series));
    }
  }
  for (const PairSeries &series : run.series)
    if (acceptedPairs(series, run.ceilings).empty())
      warn(session, "W-SPREAD",
           callName(series.tokens, series.pass) + ": no pair was accepted, so no ratio is reported",
           "run again when the machine is quiet, or with more --rounds");
  return ExitDone;
}

int benchAgainst(Session &session, const BenchFlags &flags) {
  if (flags.stages)
    return fail(session, "E-USAGE", "--stages times the steps of one layer",
                "leave --against, --schedule-b and --tuning-b out");
  if (flags.format != "md" && flags.format != "json")
    return fail(session, "E-USAGE",
                "--format " + flags.format + " does not go with --against, --schedule-b and --tuning-b",
                "they print md or json");
  CompileFlags second = flags.compile;
  second.scheduleFile = flags.scheduleB;
  if (flags.tuningB)
    second.tuning = {flags.tuningB->empty() ? "none" : *flags.tuningB};
  const std::string &other = flags.against.empty() ? flags.spec : flags.against;
  // Flags of compilations are those of the layer that is compiled.
  bool packageA = isPackageFolder(flags.spec), packageB = isPackageFolder(other);
  auto only = [](std::string schedule, std::vector<std::string> tuning) {
    CompileFlags own;
    own.scheduleFile = std::move(schedule);
    own.tuning = std::move(tuning);
    return own;
  };
  CompileFlags first = packageA && !packageB ? only(flags.compile.scheduleFile, flags.compile.tuning) : flags.compile;
  if (packageB)
    second = only(flags.scheduleB, flags.tuningB ? second.tuning : std::vector<std::string>());
  BenchSubject a, b;
  auto loadB = [&] { return loadAny(session, flags, second, other, b); };
  if (int code = packageB ? loadB() : int(ExitDone)) // before the first layer is compiled
    return code;
  if (int code = loadAny(session, flags, first, flags.spec, a))
    return code;
  if (int code = packageB ? int(ExitDone) : loadB())
    return code;
  enterStage("bench");
  PairRun run;
  auto source = [](const CompileFlags &from, const BenchSubject &subject) {
    return PairSource{from.scheduleFile, join(from.tuning, ","), subject.package ? subject.package->folder : ""};
  };
  run.sourceA = source(flags.compile, a);
  run.sourceB = source(second, b);
  if (int code = measurePairs(session, flags, a, b, run))
    return code;
  std::ostringstream text;
  writePairReport(text, run, flags.json || flags.format == "json");
  session.out << text.str();
  return ExitDone;
}

} // namespace moec
