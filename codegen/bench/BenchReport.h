// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Measured rounds -> figures, and their tables: md, csv, json, jsonl.

#ifndef MOEC_CODEGEN_BENCH_BENCHREPORT_H
#define MOEC_CODEGEN_BENCH_BENCHREPORT_H

#include "BenchContext.h"
#include "BenchPass.h"
#include "BenchWorkload.h"
#include "Ceilings.h"

#include "dsl/text/JsonWriter.h"

#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// Time of one step of a call. cpuUs: processor time of a call with one thread, 0 with several.
struct StepTime {
  double us = 0, cpuUs = 0;
};

// One timed call between two probes.
struct BenchRound {
  double us = 0;
  CallWork work;
  ProbeResult before, after;
  std::vector<StepTime> steps; // per step of the plan; empty unless asked for
};

// One step of the plan. `routing` is false for the experts' matmuls and their gradients, and true for all other steps.
struct BenchStep {
  std::string name, kind;
  bool routing = false;
  bool always = true; // false: runs only for a report, which no benchmark asks for
};

struct BenchSeries {
  int64_t tokens = 0;
  BenchPass pass = BenchPass::Forward;
  std::vector<BenchRound> rounds;
};

// What the machine could do at most during a run.
struct BenchCeilings {
  std::string peak, pattern; // the unit behind ceilings.gflops, the way of reading behind ceilings.gbps
  ProbeResult ceilings;      // best of the whole run
  std::vector<PeakRate> units;

  void take(const CeilingProbe &probe); // as the probe has them now
};

// Members of a JSON object, which is open. "units": [{"kind": "AVX-512 bf16 dot", "gflops": 236.1}, ...]; int8 units
// count integer operations.
void writeCeilings(JsonWriter &os, const BenchCeilings &ceilings);

// One call for each T, or calls of several passes.
struct BenchRun : BenchContext, BenchCeilings {
  std::vector<BenchSeries> series;                   // by T, then by pass
  std::map<BenchPass, std::vector<BenchStep>> steps; // of each pass; empty unless times of steps were asked for

  bool isOfForward() const; // no pass but BenchPass::Forward
};

// Why a figure is not reported:
//   NoRound       no round was accepted: nothing that depends on a time is known
//   AboveCeiling  the share exceeds 1: a probe found less than the machine can do, so bound and share are not known
enum class Withheld { Nothing, NoRound, AboveCeiling };
const char *withheldText(Withheld reason); // "no round accepted", "above the ceiling: probe again"; empty: Nothing

// bound_us = max(flops / peak, weightBytes / bandwidth); share = bound of the median call / us_median. NaN: withheld.
struct BenchFigures {
  double usMedian = NAN, usLow = NAN, usHigh = NAN, gflops = NAN, gbps = NAN, boundUs = NAN, share = NAN;
  double expertsTouched = NAN;
  size_t accepted = 0, rounds = 0;
  bool computeBound = false;
  Withheld withheld = Withheld::NoRound;
};

// A round counts when all four figures of its probes reach this fraction of the best seen in the run.
constexpr double acceptedFraction = 0.85;
bool accepted(const BenchRound &round, const ProbeResult &best);

// Figures of the accepted rounds. What a call must do, and so the bound, is known without one, too.
BenchFigures figuresOf(const BenchSeries &series, const ProbeResult &best);

// Times of the accepted rounds in the order of measuring: all of them, or `most` at equal distances.
constexpr size_t mostRoundTimes = 400;
std::vector<double> acceptedTimes(const BenchSeries &series, const ProbeResult &best, size_t most = mostRoundTimes);

// `format`: md, csv, json, jsonl. BenchFile.h reads the last two.
void writeReport(std::ostream &os, const BenchRun &run, std::string_view format);

} // namespace moec

#endif
