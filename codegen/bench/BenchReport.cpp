// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rounds in -> medians and tables out.

#include "BenchReport.h"

#include "BenchStages.h"
#include "FigureText.h"
#include "RatioInterval.h"

#include <algorithm>

namespace moec {

bool accepted(const BenchRound &round, const ProbeResult &best) {
  double compute = std::min(round.before.gflops, round.after.gflops),
         read = std::min(round.before.gbps, round.after.gbps);
  return compute >= acceptedFraction * best.gflops && read >= acceptedFraction * best.gbps;
}

static double boundOf(const CallWork &work, const ProbeResult &best, bool &compute) {
  double byFlops = best.gflops > 0 ? work.flops / best.gflops * 1e-3 : 0;
  double byBytes = best.gbps > 0 ? work.weightBytes / best.gbps * 1e-3 : 0;
  compute = byFlops > byBytes;
  return std::max(byFlops, byBytes);
}

bool BenchRun::isOfForward() const {
  return std::all_of(series.begin(), series.end(),
                     [](const BenchSeries &one) { return one.pass == BenchPass::Forward; });
}

const char *withheldText(Withheld reason) {
  switch (reason) {
  case Withheld::Nothing:
    return "";
  case Withheld::NoRound:
    return "no round accepted";
  case Withheld::AboveCeiling:
    return "above the ceiling: probe again";
  }
  return "";
}

std::vector<double> acceptedTimes(const BenchSeries &series, const ProbeResult &best, size_t most) {
  std::vector<double> all, kept;
  for (const BenchRound &round : series.rounds)
    if (accepted(round, best))
      all.push_back(round.us);
  for (size_t i = 0, n = std::min(all.size(), most); i < n; ++i)
    kept.push_back(all[i * all.size() / n]);
  return kept;
}

// What the calls had to do, on average.
static void addWork(const std::vector<const BenchRound *> &rounds, const ProbeResult &best, BenchFigures &figures) {
  double flops = 0, bytes = 0, n = double(rounds.size());
  figures.boundUs = figures.expertsTouched = 0;
  for (const BenchRound *round : rounds) {
    bool compute;
    figures.boundUs += boundOf(round->work, best, compute) / n;
    figures.computeBound = compute;
    figures.expertsTouched += double(round->work.expertsTouched) / n;
    flops += round->work.flops / n;
    bytes += round->work.weightBytes / n;
  }
  if (figures.usMedian > 0) {
    figures.gflops = flops / figures.usMedian * 1e-3;
    figures.gbps = bytes / figures.usMedian * 1e-3;
    figures.share = figures.boundUs / figures.usMedian;
  }
}

BenchFigures figuresOf(const BenchSeries &series, const ProbeResult &best) {
  BenchFigures figures;
  figures.rounds = series.rounds.size();
  std::vector<const BenchRound *> chosen, all;
  for (const BenchRound &round : series.rounds) {
    all.push_back(&round);
    if (accepted(round, best))
      chosen.push_back(&round);
  }
  figures.accepted = chosen.size();
  if (chosen.empty()) {
    if (!all.empty())
      addWork(all, best, figures);
    return figures;
  }
  std::vector<double> times;
  for (const BenchRound *round : chosen)
    times.push_back(round->us);
  figures.usLow = *std::min_element(times.begin(), times.end());
  figures.usHigh = *std::max_element(times.begin(), times.end());
  figures.usMedian = medianOf(times);
  addWork(chosen, best, figures);
  figures.withheld = figures.share > 1 ? Withheld::AboveCeiling : Withheld::Nothing;
  if (figures.withheld == Withheld::AboveCeiling)
    figures.share = figures.boundUs = NAN;
  return figures;
}

static void writeUnits(JsonWriter &os, const std::vector<PeakRate> &units) {
  os.attributeArray("units", [&] {
    for (const PeakRate &unit : units)
      os.object([&] {
        os.attribute("kind", peakName(unit.kind));
        writeNumber(os, "gflops", unit.gflops);
      });
  });
}

void BenchCeilings::take(const CeilingProbe &probe) {
  peak = peakName(probe.bound());
  pattern = probe.pattern();
  ceilings = probe.best();
  units = probe.units();
}

void writeCeilings(JsonWriter &os, const BenchCeilings &ceilings) {
  writeNumber(os, "compute_gflops", ceilings.ceilings.gflops);
  os.attribute("compute_kind", ceilings.peak);
  writeNumber(os, "read_gbps", ceilings.ceilings.gbps);
  os.attribute("read_pattern", ceilings.pattern);
  writeUnits(os, ceilings.units);
}

// Members of a result, into an open object.
static void writeResult(JsonWriter &os, const BenchRun &run, const BenchSeries &series) {
  BenchFigures figures = figuresOf(series, run.ceilings);
  os.attribute("tokens", series.tokens);
  os.attribute("pass", passName(series.pass));
  writeNumber(os, "us_median", figures.usMedian);
  writeNumber(os, "us_low", figures.usLow);
  writeNumber(os, "us_high", figures.usHigh);
  writeNumber(os, "gflops", figures.gflops);
  writeNumber(os, "gbps", figures.gbps);
  writeNumber(os, "bound_us", figures.boundUs);
  writeNumber(os, "share_of_bound", figures.share);
  if (figures.withheld != Withheld::Nothing)
    os.attribute("reason", withheldText(figures.withheld));
  os.attribute("bound_by", figures.computeBound ? "compute" : "read");
  writeNumber(os, "experts_touched", figures.expertsTouched);
  os.attribute("rounds", int64_t(figures.rounds));
  os.attribute("rounds_accepted", int64_t(figures.accepted));
  os.attribute("rounds_rejected", int64_t(figures.rounds - figures.accepted));
  std::string times; // on one line, however many there are
  for (double us : acceptedTimes(series, run.ceilings))
    times += (times.empty() ? "" : ", ") + csvText(us);
  os.rawAttribute("round_us", "[" + times + "]");
  writeStageMembers(os, run, series);
}

static void writeRun(JsonWriter &os, const BenchRun &run) {
  os.attribute("moec_bench", benchFormat);
  writeContext(os, run);
  os.attributeObject("ceilings", [&] { writeCeilings(os, run); });
  writeNumber(os, "accepted_fraction", acceptedFraction);
}

static void writeJson(std::ostream &out, const BenchRun &run) {
  JsonWriter os(out, 2);
  os.object([&] {
    writeRun(os, run);
    os.attributeArray("results", [&] {
      for (const BenchSeries &series : run.series)
        os.object([&] { writeResult(os, run, series); });
    });
  });
  out << "\n";
}

static void writeTable(std::ostream &os, const BenchRun &run, bool csv) {
  if (csv && !run.steps.empty())
    return writeStageTable(os, run, csv);
  bool passes = !run.isOfForward();
  if (csv)
    os << "name,isa,threads,tokens,us_median,us_low,us_high,gflops,gbps,bound_us,share_of_bound,rounds,rounds_accepted,"
          "compute_gflops,read_gbps,reason,pass\n";
  else
    os << (passes ? "| T | pass " : "| T ")
       << "| time, us | low .. high | GFLOP/s | GB/s | bound, us | share of bound | rounds |\n"
       << (passes ? "|---:|---" : "|---:") << "|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const BenchSeries &series : run.series) {
    BenchFigures f = figuresOf(series, run.ceilings);
    std::string reason = withheldText(f.withheld);
    if (csv) {
      os << run.name << "," << run.isa << "," << run.threads << "," << series.tokens;
      for (double value : {f.usMedian, f.usLow, f.usHigh, f.gflops, f.gbps, f.boundUs, f.share})
        os << "," << csvText(value);
      os << "," << f.rounds << "," << f.accepted << "," << csvText(run.ceilings.gflops) << ","
         << csvText(run.ceilings.gbps) << "," << reason << "," << passName(series.pass) << "\n";
      continue;
    }
    os << "| " << series.tokens << " | " << (passes ? passText(series.pass) + std::string(" | ") : "")
       << fixedText(f.usMedian, 1) << " | ";
    if (f.accepted)
      os << fixedText(f.usLow, 1) << " .. ";
    os << fixedText(f.usHigh, 1) << " | " << fixedText(f.gflops, 1) << " | " << fixedText(f.gbps, 2) << " | "
       << fixedText(f.boundUs, 1, f.computeBound ? " (compute)" : " (read)") << " | "
       << fixedText(100 * f.share, 1, " %") << (reason.empty() ? "" : " (" + reason + ")") << " | " << f.accepted
       << " of " << f.rounds << " |\n";
  }
  if (!csv)
    os << formatted(
              "\n%s on %s, %d thread%s, %s routing, %s weights. Ceilings probed beside it: %.1f GFLOP/s (%s), %.2f "
              "GB/s (%s). ",
              run.name.c_str(), run.isa.c_str(), run.threads, run.threads == 1 ? "" : "s", run.skew.c_str(),
              run.cold ? "cold" : "warm", run.ceilings.gflops, run.peak.c_str(), run.ceilings.gbps, run.pattern.c_str())
       << formatted("Rounds count when both probes around them reach %.2f of these.\n", acceptedFraction);
  if (!csv && !run.gradientType.empty())
    os << "Backward calls make every gradient, those of matrices in " << run.gradientType
       << "; their bytes count as those of weights do.\n";
  if (!csv && run.distinctExperts)
    os << formatted("Experts share storage: %lld of %lld have their own.\n", (long long)run.distinctExperts,
                    (long long)run.experts);
  if (!csv && !run.steps.empty())
    writeStageTable(os, run, csv);
}

void writeReport(std::ostream &os, const BenchRun &run, std::string_view format) {
  if (format == "json") {
    writeJson(os, run);
  } else if (format == "jsonl") {
    for (const BenchSeries &series : run.series) {
      JsonWriter line(os);
      line.object([&] {
        writeRun(line, run);
        writeResult(line, run, series);
      });
      os << "\n";
    }
  } else {
    writeTable(os, run, format == "csv");
  }
}

} // namespace moec
