// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results in -> samples of the same call, their ratios and differences out.

#include "BenchCompare.h"

#include "FigureText.h"
#include "RatioInterval.h"

#include <algorithm>
#include <map>
#include <set>

namespace moec {

namespace {
// The results of one call in one file.
struct Sample {
  RatioRow call; // names it; no figures
  std::vector<const BenchResult *> results;

  // Rounds of a run; of several runs one median each, because the rounds of one process vary together.
  std::vector<double> times() const {
    if (results.size() == 1)
      return results.front()->roundUs;
    std::vector<double> medians;
    for (const BenchResult *result : results)
      if (!result->roundUs.empty())
        medians.push_back(medianOf(result->roundUs));
    return medians;
  }
};
} // namespace

static bool holdsSeveralLayers(const BenchFile &file) {
  return std::any_of(file.results.begin(), file.results.end(), [&](const BenchResult &result) {
    return result.context.name != file.results.front().context.name;
  });
}

static std::vector<Sample> samplesOf(const BenchFile &file, bool byLayer) {
  std::vector<Sample> samples;
  std::map<std::string, size_t> places;
  for (const BenchResult &result : file.results) {
    Sample own;
    own.call.layer = byLayer ? result.context.name : "";
    own.call.tokens = result.tokens;
    own.call.pass = result.pass;
    own.call.threads = result.context.threads;
    own.call.skew = result.context.skew;
    own.call.cold = result.context.cold;
    auto [place, added] = places.emplace(rowName(own.call), samples.size());
    if (added)
      samples.push_back(own);
    samples[place->second].results.push_back(&result);
  }
  return samples;
}

static std::string cpuText(const MachineFacts &machine) {
  std::string text = machine.brand.empty() ? machine.vendor : machine.brand;
  if (text.empty())
    return "";
  return text + ", family " + std::to_string(machine.family) + ", model " + std::to_string(machine.model) +
         ", stepping " + std::to_string(machine.stepping);
}

static std::string flagsText(const MachineFacts &machine) {
  std::string text;
  for (const std::string &flag : machine.flags)
    text += (text.empty() ? "" : " ") + flag;
  return text;
}

static std::string typesText(const BenchContext &context) {
  return context.inputType + " x " + context.weightType + " -> " + context.outputType;
}

// Ceilings of one machine move; what differs by more than a round may count with is another machine, or a busy one.
static void addCeiling(const char *what, double a, double b, const char *unit, std::vector<BenchDifference> &list) {
  if (std::min(a, b) < 0.85 * std::max(a, b))
    list.push_back({what, fixedText(a, 1, unit), fixedText(b, 1, unit)});
}

static std::vector<BenchDifference> differencesOf(const BenchResult &a, const BenchResult &b) {
  const BenchContext &x = a.context, &y = b.context;
  std::vector<BenchDifference> list = {
      {"CPU", cpuText(x.machine), cpuText(y.machine)},
      {"CPU flags", flagsText(x.machine), flagsText(y.machine)},
      {"logical CPUs", std::to_string(x.machine.logicalCpus), std::to_string(y.machine.logicalCpus)},
      {"layer", x.name, y.name},
      {"spec", x.specHash, y.specHash},
      {"types", typesText(x), typesText(y)},
      {"moec version", x.moecVersion, y.moecVersion},
      {"instruction set", x.isa, y.isa},
      {"experts with storage of their own", x.distinctExperts ? std::to_string(x.distinctExperts) : "all",
       y.distinctExperts ? std::to_string(y.distinctExperts) : "all"},
  };
  list.erase(std::remove_if(list.begin(), list.end(), [](const BenchDifference &entry) { return entry.a == entry.b; }),
             list.end());
  addCeiling("arithmetic ceiling", a.peakGflops, b.peakGflops, " GFLOP/s", list);
  addCeiling("read ceiling", a.readGbps, b.readGbps, " GB/s", list);
  for (BenchDifference &entry : list)
    for (std::string *text : {&entry.a, &entry.b})
      *text = text->empty() ? "unknown" : escaped(*text);
  return list;
}

static RatioRow compareSamples(const Sample &a, const Sample &b) {
  RatioRow row = a.call;
  std::vector<double> timesA = a.times(), timesB = b.times();
  row.usA = medianOf(timesA);
  row.usB = medianOf(timesB);
  row.roundsA = timesA.size();
  row.roundsB = timesB.size();
  row.ratio = independentRatio(timesA, timesB);
  if (timesA.empty() || timesB.empty())
    row.reason = std::string("no round accepted in ") + (!timesB.empty() ? "a" : !timesA.empty() ? "b" : "a and b");
  else if (!row.ratio.known())
    row.reason = "too few rounds for an interval";
  return row;
}

BenchComparison compareBenchFiles(const BenchFile &a, const BenchFile &b) {
  BenchComparison comparison;
  comparison.a = a.name;
  comparison.b = b.name;
  bool byLayer = holdsSeveralLayers(a) || holdsSeveralLayers(b);
  std::vector<Sample> samplesA = samplesOf(a, byLayer), samplesB = samplesOf(b, byLayer);
  std::map<std::string, const Sample *> others;
  for (const Sample &sample : samplesB)
    others[rowName(sample.call)] = &sample;
  std::set<std::string> seen;
  auto compare = [&](const BenchResult &x, const BenchResult &y) {
    for (BenchDifference &entry : differencesOf(x, y))
      if (seen.insert(entry.what + "\n" + entry.a + "\n" + entry.b).second)
        comparison.differences.push_back(std::move(entry));
  };
  for (const Sample &sample : samplesA) {
    auto other = others.find(rowName(sample.call));
    if (other == others.end()) {
      comparison.onlyA.push_back(rowName(sample.call));
      continue;
    }
    comparison.rows.push_back(compareSamples(sample, *other->second));
    for (const BenchResult *x : sample.results)
      compare(*x, *other->second->results.front());
    for (const BenchResult *y : other->second->results)
      compare(*sample.results.front(), *y);
    others.erase(other);
  }
  for (const Sample &sample : samplesB)
    if (others.count(rowName(sample.call)))
      comparison.onlyB.push_back(rowName(sample.call));
  return comparison;
}

static void writeJson(std::ostream &out, const BenchComparison &comparison) {
  JsonWriter os(out, 2);
  auto list = [&](const char *key, const std::vector<std::string> &names) {
    os.attributeArray(key, [&] {
      for (const std::string &name : names)
        os.value(name);
    });
  };
  os.object([&] {
    os.attribute("moec_compare", 1);
    os.attribute("a", comparison.a);
    os.attribute("b", comparison.b);
    writeNumber(os, "confidence", 0.95);
    os.attribute("method", "Hodges-Lehmann ratio of accepted rounds, Mann-Whitney interval");
    os.attributeArray("differences", [&] {
      for (const BenchDifference &entry : comparison.differences)
        os.object([&] {
          os.attribute("what", entry.what);
          os.attribute("a", entry.a);
          os.attribute("b", entry.b);
        });
    });
    os.attributeArray("results", [&] {
      for (const RatioRow &row : comparison.rows)
        os.object([&] { writeRatioMembers(os, row); });
    });
    list("only_a", comparison.onlyA);
    list("only_b", comparison.onlyB);
  });
  out << "\n";
}

void writeComparison(std::ostream &os, const BenchComparison &comparison, bool json) {
  if (json)
    return writeJson(os, comparison);
  os << "a: " << escaped(comparison.a) << "\nb: " << escaped(comparison.b) << "\n";
  for (const BenchDifference &entry : comparison.differences)
    os << "warning: not the same " << entry.what << ": a " << entry.a << "; b " << entry.b << "\n";
  os << "\n";
  writeRatioTable(os, comparison.rows);
  for (const std::string &name : comparison.onlyA)
    os << "only in a: " << name << "\n";
  for (const std::string &name : comparison.onlyB)
    os << "only in b: " << name << "\n";
}

} // namespace moec
