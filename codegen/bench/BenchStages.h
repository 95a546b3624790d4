// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A probed call -> the time of each of its steps; rounds of such calls -> medians, shares and tables.

#ifndef MOEC_CODEGEN_BENCH_BENCHSTAGES_H
#define MOEC_CODEGEN_BENCH_BENCHSTAGES_H

#include "BenchReport.h"

#include "codegen/package/PlanTables.h"

#include "runtime/moec.h"

#include <chrono>

namespace moec {

// Name and kind of every step of a plan, and whether it is routing: router, choice, capacity, dispatch, counts,
// combine. The matmuls of routed and shared experts are not, nor those of their gradients.
std::vector<BenchStep> benchSteps(const PlanTables &plan);

// Times of the steps of one call, in microseconds, from begin to end. With one thread
// it also measures processor time, which other work on the machine does not lengthen.
class StageClock {
public:
  StageClock(size_t numSteps, bool oneThread) : times(numSteps), oneThread(oneThread) {}
  moec_probe probe();
  std::vector<StepTime> take(); // returns and clears the times of the last call

private:
  static void onEvent(void *context, const moec_probe_event *event);
  std::vector<StepTime> times;
  bool oneThread;
  std::chrono::steady_clock::time_point begin;
  double cpuBegin = 0;
};

// One step over the accepted rounds: median times, and the median of the step's share of all steps in the same round.
// Shares use processor time if it was measured.
//
// NOTE: clock time would make short steps look cheap: on a busy machine long steps are interrupted in every round,
// short ones in few.
struct StageFigures {
  double usMedian = NAN, cpuMedian = NAN, share = NAN; // NaN: no round was accepted
};
std::vector<StageFigures> stageFigures(const BenchSeries &series, const ProbeResult &best);

// Steps of the plan that a series ran; empty unless times of steps were asked for.
const std::vector<BenchStep> &stepsOf(const BenchRun &run, const BenchSeries &series);

// The same for all steps of routing together.
StageFigures routingFigures(const BenchRun &run, const BenchSeries &series);

// A table per T: after the table of calls (md), or replacing it (csv). For json: members of a result.
void writeStageTable(std::ostream &os, const BenchRun &run, bool csv);
void writeStageMembers(JsonWriter &os, const BenchRun &run, const BenchSeries &series);

} // namespace moec

#endif
