// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A watched call -> the time of each of its steps; rounds of them -> medians, shares and tables.

#ifndef MOEC_CODEGEN_BENCH_BENCHSTAGES_H
#define MOEC_CODEGEN_BENCH_BENCHSTAGES_H

#include "BenchReport.h"

#include "codegen/plan/LaunchPlan.h"

#include "runtime/walk_probe.h"

#include "llvm/Support/JSON.h"

#include <chrono>

namespace moec {

// Name, kind and side of every step of a plan. Routing is everything but the matmuls of experts and of blocks beside
// them: router, choice, capacity, dispatch, counts, combine.
std::vector<BenchStep> benchSteps(const LaunchPlan &plan);

// Times of the steps of one call, in microseconds: from one step's begin to the next one's. With one thread also the
// processor time of it, which a machine that does other things beside it does not lengthen.
class StageClock {
public:
  StageClock(size_t numSteps, bool oneThread) : times(numSteps), oneThread(oneThread) {}
  moec_walk_probe probe(uint32_t distinctGroups) { return {onStep, this, distinctGroups}; }
  std::vector<StepTime> take(); // of the last call, which are then forgotten

private:
  static void onStep(void *context, uint32_t step);
  std::vector<StepTime> times;
  bool oneThread;
  size_t open = SIZE_MAX; // step in work
  std::chrono::steady_clock::time_point begin;
  double cpuBegin = 0;
};

// Of one step over the rounds that count: the median times, and the median of its share of the same round's steps,
// which is of processor time where there is one.
//
// NOTE: time on the clock would flatter short steps. On a busy machine the long ones are interrupted in every round,
// the short ones in few.
struct StageFigures {
  double usMedian = 0, cpuMedian = 0, share = 0;
};
std::vector<StageFigures> stageFigures(const BenchSeries &series, const ProbeResult &best);

// The same for all steps of routing together.
StageFigures routingFigures(const BenchRun &run, const BenchSeries &series);

// Tables of every T behind the table of calls (md), instead of it (csv); members of a result (json).
void writeStageTable(llvm::raw_ostream &os, const BenchRun &run, bool csv);
void writeStageMembers(llvm::json::OStream &os, const BenchRun &run, const BenchSeries &series);

} // namespace moec

#endif
