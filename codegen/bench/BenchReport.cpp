// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rounds in -> medians and tables out.

#include "BenchReport.h"

#include "BenchStages.h"
#include "JsonNumber.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <algorithm>

using namespace llvm;

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
  if (chosen.empty())
    chosen = all;
  if (chosen.empty())
    return figures;
  std::sort(chosen.begin(), chosen.end(), [](auto *a, auto *b) { return a->us < b->us; });
  size_t middle = chosen.size() / 2;
  figures.usLow = chosen.front()->us;
  figures.usHigh = chosen.back()->us;
  figures.usMedian = chosen.size() % 2 ? chosen[middle]->us : 0.5 * (chosen[middle - 1]->us + chosen[middle]->us);
  double flops = 0, bytes = 0;
  for (const BenchRound *round : chosen) {
    bool compute;
    figures.boundUs += boundOf(round->work, best, compute) / double(chosen.size());
    figures.computeBound = compute;
    figures.expertsTouched += double(round->work.expertsTouched) / double(chosen.size());
    flops += round->work.flops / double(chosen.size());
    bytes += round->work.weightBytes / double(chosen.size());
  }
  if (figures.usMedian > 0) {
    figures.gflops = flops / figures.usMedian * 1e-3;
    figures.gbps = bytes / figures.usMedian * 1e-3;
    figures.share = figures.boundUs / figures.usMedian;
  }
  return figures;
}

static void writeCeilings(json::OStream &os, const BenchRun &run) {
  os.attributeObject("ceilings", [&] {
    writeNumber(os, "compute_gflops", run.ceilings.gflops);
    os.attribute("compute_kind", run.peak);
    writeNumber(os, "read_gbps", run.ceilings.gbps);
    os.attribute("read_pattern", run.pattern);
    writeUnits(os, run.units);
  });
}

void writeUnits(json::OStream &os, const std::vector<PeakRate> &units) {
  os.attributeArray("units", [&] {
    for (const PeakRate &unit : units)
      os.object([&] {
        os.attribute("kind", peakName(unit.kind));
        writeNumber(os, "gflops", unit.gflops);
      });
  });
}

static void writeResult(json::OStream &os, const BenchRun &run, const BenchSeries &series, bool withCeilings) {
  BenchFigures figures = figuresOf(series, run.ceilings);
  os.object([&] {
    if (withCeilings)
      os.attribute("name", run.name);
    os.attribute("tokens", series.tokens);
    writeNumber(os, "us_median", figures.usMedian);
    writeNumber(os, "us_low", figures.usLow);
    writeNumber(os, "us_high", figures.usHigh);
    writeNumber(os, "gflops", figures.gflops);
    writeNumber(os, "gbps", figures.gbps);
    writeNumber(os, "bound_us", figures.boundUs);
    writeNumber(os, "share_of_bound", figures.share);
    os.attribute("bound_by", figures.computeBound ? "compute" : "read");
    writeNumber(os, "experts_touched", figures.expertsTouched);
    os.attribute("rounds", int64_t(figures.rounds));
    os.attribute("rounds_accepted", int64_t(figures.accepted));
    if (withCeilings && run.distinctExperts)
      os.attribute("distinct_experts", run.distinctExperts);
    writeStageMembers(os, run, series);
    if (withCeilings)
      writeCeilings(os, run);
  });
}

static void writeJson(raw_ostream &out, const BenchRun &run) {
  json::OStream os(out, 2);
  os.object([&] {
    os.attribute("name", run.name);
    os.attribute("isa", run.isa);
    os.attribute("threads", run.threads);
    os.attribute("skew", run.skew);
    os.attribute("weights", run.cold ? "cold" : "warm");
    if (run.distinctExperts)
      os.attribute("distinct_experts", run.distinctExperts);
    writeCeilings(os, run);
    writeNumber(os, "accepted_fraction", acceptedFraction);
    os.attributeArray("results", [&] {
      for (const BenchSeries &series : run.series)
        writeResult(os, run, series, false);
    });
  });
  out << "\n";
}

static void writeTable(raw_ostream &os, const BenchRun &run, bool csv) {
  if (csv && !run.steps.empty())
    return writeStageTable(os, run, csv);
  if (csv)
    os << "name,isa,threads,tokens,us_median,us_low,us_high,gflops,gbps,bound_us,share_of_bound,rounds,rounds_accepted,"
          "compute_gflops,read_gbps\n";
  else
    os << "| T | time, us | low .. high | GFLOP/s | GB/s | bound, us | share of bound | rounds |\n"
          "|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const BenchSeries &series : run.series) {
    BenchFigures f = figuresOf(series, run.ceilings);
    if (csv)
      os << run.name << "," << run.isa << "," << run.threads << "," << series.tokens
         << format(",%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%zu,%zu,%.6g,%.6g\n", f.usMedian, f.usLow, f.usHigh, f.gflops,
                   f.gbps, f.boundUs, f.share, f.rounds, f.accepted, run.ceilings.gflops, run.ceilings.gbps);
    else
      os << format("| %lld | %.1f | %.1f .. %.1f | %.1f | %.2f | %.1f (%s) | %.1f %% | %zu of %zu |\n",
                   (long long)series.tokens, f.usMedian, f.usLow, f.usHigh, f.gflops, f.gbps, f.boundUs,
                   f.computeBound ? "compute" : "read", 100 * f.share, f.accepted, f.rounds);
  }
  if (!csv)
    os << format("\n%s on %s, %d thread%s, %s routing, %s weights. Ceilings probed beside it: %.1f GFLOP/s (%s), %.2f "
                 "GB/s (%s). ",
                 run.name.c_str(), run.isa.c_str(), run.threads, run.threads == 1 ? "" : "s", run.skew.c_str(),
                 run.cold ? "cold" : "warm", run.ceilings.gflops, run.peak.c_str(), run.ceilings.gbps,
                 run.pattern.c_str())
       << format("Rounds count when both probes around them reach %.2f of these.\n", acceptedFraction);
  if (!csv && run.distinctExperts)
    os << format("Experts share storage: %lld of %lld have their own.\n", (long long)run.distinctExperts,
                 (long long)run.experts);
  if (!csv && !run.steps.empty())
    writeStageTable(os, run, csv);
}

void writeReport(raw_ostream &os, const BenchRun &run, StringRef format) {
  if (format == "json") {
    writeJson(os, run);
  } else if (format == "jsonl") {
    for (const BenchSeries &series : run.series) {
      json::OStream line(os);
      writeResult(line, run, series, true);
      os << "\n";
    }
  } else {
    writeTable(os, run, format == "csv");
  }
}

} // namespace moec
