// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pairs of rounds in -> ratios, tables and JSON out.

#include "PairReport.h"

#include "FigureText.h"

#include "dsl/text/SourceText.h"

#include <algorithm>

namespace moec {

std::vector<std::pair<double, double>> acceptedPairs(const PairSeries &series, const ProbeResult &best) {
  std::vector<std::pair<double, double>> all, kept;
  for (const auto &[a, b] : series.pairs)
    if (accepted(a, best) && accepted(b, best))
      all.emplace_back(a.us, b.us);
  for (size_t i = 0, n = std::min(all.size(), mostRoundTimes); i < n; ++i)
    kept.push_back(all[i * all.size() / n]);
  return kept;
}

RatioRow ratioOf(const PairRun &run, const PairSeries &series) {
  RatioRow row;
  row.tokens = series.tokens;
  row.pass = series.pass;
  row.threads = run.a.threads;
  row.skew = run.a.skew;
  row.cold = run.a.cold;
  std::vector<std::pair<double, double>> pairs = acceptedPairs(series, run.ceilings);
  std::vector<double> timesA, timesB;
  for (auto [a, b] : pairs) {
    timesA.push_back(a);
    timesB.push_back(b);
  }
  row.usA = medianOf(timesA);
  row.usB = medianOf(timesB);
  row.roundsA = row.roundsB = pairs.size();
  row.ratio = pairedRatio(pairs);
  if (pairs.empty())
    row.reason = "no pair accepted";
  else if (!row.ratio.known())
    row.reason = "too few pairs for an interval";
  return row;
}

template <class Visit> static void forEachPart(const PairSource &source, Visit visit) {
  for (auto [what, name] :
       {std::pair("schedule", source.schedule), {"tuning", source.tuning}, {"package", source.package}})
    if (!name.empty())
      visit(what, name);
}

static void writeJson(std::ostream &out, const PairRun &run) {
  JsonWriter os(out, 2);
  auto layer = [&](const char *key, const BenchContext &context, const PairSource &source) {
    os.attributeObject(key, [&] {
      writeContext(os, context);
      forEachPart(source, [&](const char *what, const std::string &name) { os.attribute(what, name); });
    });
  };
  os.object([&] {
    os.attribute("moec_against", 1);
    layer("a", run.a, run.sourceA);
    layer("b", run.b, run.sourceB);
    os.attribute("shared_weights", run.sharedWeights);
    os.attributeObject("ceilings", [&] { writeCeilings(os, run); });
    writeNumber(os, "accepted_fraction", acceptedFraction);
    writeNumber(os, "confidence", 0.95);
    os.attribute("method", "Hodges-Lehmann ratio of accepted pairs, Wilcoxon signed-rank interval");
    os.attributeArray("results", [&] {
      for (const PairSeries &series : run.series)
        os.object([&] {
          writeRatioMembers(os, ratioOf(run, series));
          os.attribute("pairs", int64_t(series.pairs.size()));
          std::string times; // on one line, however many there are
          for (auto [a, b] : acceptedPairs(series, run.ceilings))
            times += (times.empty() ? "[" : ", [") + csvText(a) + ", " + csvText(b) + "]";
          os.rawAttribute("pair_us", "[" + times + "]");
        });
    });
  });
  out << "\n";
}

static std::string describe(const BenchContext &context, const PairSource &source) {
  std::string text = context.name + " on " + context.isa + ", " + context.weightType + " weights, package " +
                     context.packageHash.substr(0, 12);
  forEachPart(source, [&](const std::string &what, const std::string &name) {
    text += what == "package" ? " of " + escaped(name) + ", made by moec " + escaped(context.moecVersion)
                              : ", " + what + " " + escaped(name);
  });
  return text;
}

void writePairReport(std::ostream &os, const PairRun &run, bool json) {
  if (json)
    return writeJson(os, run);
  os << "a: " << describe(run.a, run.sourceA) << "\nb: " << describe(run.b, run.sourceB) << "\n";
  if (run.a.packageHash == run.b.packageHash)
    os << "note: a and b are the same package\n";
  os << "\n";
  std::vector<RatioRow> rows;
  size_t taken = 0;
  for (const PairSeries &series : run.series) {
    rows.push_back(ratioOf(run, series));
    taken += series.pairs.size();
  }
  writeRatioTable(os, rows);
  os << "\nCalls alternate in one process (A B B A); " << taken
     << " pairs were taken. Ceilings probed beside them: " << fixedText(run.ceilings.gflops, 1) << " GFLOP/s ("
     << run.peak << "), " << fixedText(run.ceilings.gbps, 2) << " GB/s (" << run.pattern
     << "). A pair counts when all probes around it reach " << fixedText(acceptedFraction, 2) << " of these.\n"
     << (run.sharedWeights ? "Both read the same packed weights.\n" : "");
}

} // namespace moec
