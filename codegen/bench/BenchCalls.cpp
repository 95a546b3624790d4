// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> the time of a call for each T, beside what this machine could do at most in the same minute.
//
//   per round   probe, call, probe; the call's weights come from memory, because the probe before it read 128 MiB or
//               more of something else and consecutive calls take inputs that reach other experts

#include "BenchedLayer.h"
#include "Clocks.h"
#include "FigureText.h"

#include "codegen/check/OutputCheck.h"

#include <algorithm>
#include <sstream>

namespace moec {

namespace {
// A T whose rounds are being taken.
struct Measuring {
  BenchedLayer &layer;
  const BenchInputs &inputs;
  const std::vector<PassWork> &work; // per variant
  CeilingProbe &probe;
};
} // namespace

// Without a number of rounds: until 15 rounds of each pass are accepted, at most 45 rounds and 12 seconds for each
// pass, at least 5 rounds.
static bool enough(const BenchOptions &options, const std::vector<BenchSeries> &passes, const ProbeResult &best,
                   double spent) {
  size_t rounds = passes.front().rounds.size(), good = rounds;
  if (options.rounds)
    return int(rounds) >= options.rounds;
  for (const BenchSeries &series : passes)
    good = std::min(good, size_t(std::count_if(series.rounds.begin(), series.rounds.end(),
                                               [&](const BenchRound &round) { return accepted(round, best); })));
  return rounds >= 5 && (good >= 15 || rounds >= 45 || spent > 12 * double(passes.size()));
}

// One series per pass of the layer, all of the same T. Passes alternate: a backward call follows the forward call whose
// values it reads, which is not timed if only backward calls are.
static Result<> measure(Measuring &m, std::vector<BenchSeries> &passes) {
  const BenchOptions &options = m.layer.options();
  int64_t tokens = passes.front().tokens;
  CallOutputs out(m.layer.info(), tokens, /*ask=*/0);
  if (!out.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the outputs");
  double begin = wallSeconds();
  ProbeResult before = m.probe.probe();
  for (int i = 0; !enough(options, passes, m.probe.best(), wallSeconds() - begin); ++i) {
    int variant = options.warm ? 0 : i % m.inputs.count();
    if (passes.front().pass == BenchPass::Backward) {
      if (Result<> saved = m.layer.call(BenchPass::Saving, tokens, m.inputs.at(variant), out.y.data()); !saved)
        return saved;
      before = m.probe.probe();
    }
    for (BenchSeries &series : passes) {
      Result<double> us = m.layer.timeCall(series.pass, tokens, m.inputs.at(variant), out.y.data());
      if (!us)
        return us.takeError();
      BenchRound round;
      round.us = *us;
      if (options.stages)
        round.steps = m.layer.takeSteps(series.pass);
      round.work = m.work[size_t(variant)].of(series.pass);
      round.before = before;
      round.after = before = m.probe.probe();
      series.rounds.push_back(round);
    }
  }
  return {};
}

Result<> benchCalls(BenchedLayer &layer, const std::vector<int64_t> &tokens, const BenchProgress &progress,
                    BenchRun &run) {
  layer.describe(run);
  CeilingProbe probe(layer.facts().factors(), layer.options().threads);
  if (!probe.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  for (BenchPass pass : layer.passes())
    if (layer.options().stages)
      run.steps[pass] = benchSteps(layer.planOf(pass));
  for (int64_t t : tokens) {
    BenchInputs inputs(layer.facts(), t, numVariants(t));
    if (!inputs.ready())
      return Diagnostic::error("E-MEMORY", "not enough memory for the inputs");
    Result<std::vector<PassWork>> work = layer.route(inputs, t);
    if (!work)
      return work.error().within("T=" + std::to_string(t));
    std::vector<BenchSeries> passes;
    for (BenchPass pass : layer.passes())
      passes.push_back({t, pass, {}});
    Measuring measuring{layer, inputs, *work, probe};
    if (Result<> measured = measure(measuring, passes); !measured)
      return measured.error().within("T=" + std::to_string(t));
    for (BenchSeries &series : passes) {
      if (progress)
        progress(series, probe.best());
      run.series.push_back(std::move(series));
    }
  }
  run.take(probe);
  return {};
}

// Two lines on stderr while it runs: nobody should wonder whether it hangs.
std::string progressText(const BenchSeries &series, const ProbeResult &best) {
  BenchFigures figures = figuresOf(series, best);
  std::string text = formatted("  T = %-6lld ", (long long)series.tokens);
  if (series.pass != BenchPass::Forward)
    text += formatted("%-19s", passText(series.pass));
  if (figures.accepted)
    text += formatted("%12.1f us  ", figures.usMedian);
  if (figures.withheld == Withheld::Nothing)
    text += formatted("%5.1f %% of the bound, ", 100 * figures.share);
  return text + formatted("%zu of %zu rounds accepted", figures.accepted, figures.rounds);
}

std::vector<Diagnostic> withheldWarnings(const BenchRun &run) {
  std::vector<Diagnostic> warnings;
  for (const BenchSeries &series : run.series) {
    std::string at = callName(series.tokens, series.pass) + ": ";
    Withheld reason = figuresOf(series, run.ceilings).withheld;
    if (reason == Withheld::NoRound)
      warnings.push_back(Diagnostic::warning("W-SPREAD", at + "no round was accepted, so no time is reported",
                                             "run again when the machine is quiet, or with more --rounds"));
    if (reason == Withheld::AboveCeiling)
      warnings.push_back(Diagnostic::warning(
          "W-CEILING", at + "the calls were faster than the probed ceilings allow, so no share is reported",
          "run again, so that the ceilings are probed again"));
  }
  return warnings;
}

Result<std::string> ceilingsText(int threads, bool json) {
  CeilingProbe probe(Factors::Bf16, threads);
  if (!probe.ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  probe.probe();
  if (json) {
    BenchCeilings ceilings;
    ceilings.take(probe);
    std::ostringstream out;
    JsonWriter os(out, 2);
    os.object([&] { writeCeilings(os, ceilings); });
    return out.str() + "\n";
  }
  std::string text = formatted("compute_gflops %.1f\nread_gbps %.2f\n", probe.best().gflops, probe.best().gbps);
  for (const PeakRate &unit : probe.units())
    text += formatted("%.1f G/s %s\n", unit.gflops, peakName(unit.kind));
  return text;
}

} // namespace moec
