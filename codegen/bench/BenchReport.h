// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Measured rounds -> figures, and their tables: md, csv, json, jsonl.

#ifndef MOEC_CODEGEN_BENCH_BENCHREPORT_H
#define MOEC_CODEGEN_BENCH_BENCHREPORT_H

#include "BenchWorkload.h"
#include "Ceilings.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <string>
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

// One step of the plan. `routing` is false for the experts' matmuls and true for all other steps.
struct BenchStep {
  std::string name, kind;
  bool routing = false;
  bool always = true; // false: runs only for a report, which no benchmark asks for
};

struct BenchSeries {
  int64_t tokens = 0;
  std::vector<BenchRound> rounds;
};

struct BenchRun {
  std::string name, isa, skew, peak, pattern;
  int threads = 1;
  bool cold = true;
  ProbeResult ceilings; // best of the whole run
  std::vector<PeakRate> units;
  std::vector<BenchSeries> series;
  std::vector<BenchStep> steps;             // empty unless times of steps were asked for
  int64_t experts = 0, distinctExperts = 0; // distinctExperts: how many have their own storage; 0: all
};

// bound_us = max(flops / peak, weightBytes / bandwidth); share = bound of the median call / us_median.
struct BenchFigures {
  double usMedian = 0, usLow = 0, usHigh = 0, gflops = 0, gbps = 0, boundUs = 0, share = 0, expertsTouched = 0;
  size_t accepted = 0, rounds = 0;
  bool computeBound = false;
};

// A round counts when all four figures of its probes reach this fraction of the best seen in the run.
constexpr double acceptedFraction = 0.85;
bool accepted(const BenchRound &round, const ProbeResult &best);

// Figures of the accepted rounds, or of all rounds if none was accepted.
BenchFigures figuresOf(const BenchSeries &series, const ProbeResult &best);

// {"units": [{"kind": "AVX-512 bf16 dot", "gflops": 236.1}, ...]}: int8 units count multiplications and additions alike.
void writeUnits(llvm::json::OStream &os, const std::vector<PeakRate> &units);

// `format`: md, csv, json, jsonl.
void writeReport(llvm::raw_ostream &os, const BenchRun &run, llvm::StringRef format);

} // namespace moec

#endif
