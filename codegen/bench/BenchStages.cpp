// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Steps of rounds in -> figures and tables of steps out.

#include "BenchStages.h"

#include "Clocks.h"
#include "FigureText.h"
#include "RatioInterval.h"

#include <algorithm>

namespace moec {

std::vector<BenchStep> benchSteps(const PlanTables &plan) {
  std::vector<BenchStep> steps;
  for (const moec_step &step : plan.steps)
    steps.push_back(
        {std::string(plan.text(step.name)), stepKindText(step), !isExpertMatmul(plan, step), step.asked == 0});
  return steps;
}

moec_probe StageClock::probe() {
  moec_probe probe = {};
  probe.struct_size = sizeof probe;
  probe.on_event = onEvent;
  probe.context = this;
  return probe;
}

void StageClock::onEvent(void *context, const moec_probe_event *event) {
  auto *clock = static_cast<StageClock *>(context);
  if (event->event == MOEC_PROBE_STEP_BEGIN) {
    clock->cpuBegin = clock->oneThread ? threadUs() : 0;
    clock->begin = std::chrono::steady_clock::now();
    return;
  }
  auto end = std::chrono::steady_clock::now();
  double cpuEnd = clock->oneThread ? threadUs() : 0;
  if (size_t(event->step) >= clock->times.size())
    return;
  StepTime &time = clock->times[size_t(event->step)];
  time.us += std::chrono::duration<double, std::micro>(end - clock->begin).count();
  time.cpuUs += cpuEnd - clock->cpuBegin;
}

std::vector<StepTime> StageClock::take() {
  std::vector<StepTime> taken(times.size());
  std::swap(taken, times);
  return taken;
}

// The steps that `takes` of every round that counts, together, as they are and as a fraction of all steps of the round.
template <typename Takes>
static StageFigures figuresOfSteps(const BenchSeries &series, const ProbeResult &best, Takes takes) {
  std::vector<double> times, cpuTimes, shares;
  for (const BenchRound &round : series.rounds) {
    StepTime all, part;
    for (size_t i = 0; i < round.steps.size(); ++i)
      for (StepTime *sum : {&all, &part})
        if (sum == &all || takes(i)) {
          sum->us += round.steps[i].us;
          sum->cpuUs += round.steps[i].cpuUs;
        }
    if (!accepted(round, best) || all.us <= 0)
      continue;
    times.push_back(part.us);
    cpuTimes.push_back(part.cpuUs);
    shares.push_back(all.cpuUs > 0 ? part.cpuUs / all.cpuUs : part.us / all.us);
  }
  return {medianOf(times), medianOf(cpuTimes), medianOf(shares)};
}

std::vector<StageFigures> stageFigures(const BenchSeries &series, const ProbeResult &best) {
  std::vector<StageFigures> figures;
  size_t steps = series.rounds.empty() ? 0 : series.rounds.front().steps.size();
  for (size_t i = 0; i < steps; ++i)
    figures.push_back(figuresOfSteps(series, best, [i](size_t step) { return step == i; }));
  return figures;
}

const std::vector<BenchStep> &stepsOf(const BenchRun &run, const BenchSeries &series) {
  static const std::vector<BenchStep> none;
  auto found = run.steps.find(series.pass);
  return found == run.steps.end() ? none : found->second;
}

StageFigures routingFigures(const BenchRun &run, const BenchSeries &series) {
  const std::vector<BenchStep> &steps = stepsOf(run, series);
  return figuresOfSteps(series, run.ceilings, [&](size_t step) { return step < steps.size() && steps[step].routing; });
}

// `call`: the cells of T and, in a table of several passes, of the pass; `what`: those of name and kind.
static void writeRow(std::ostream &os, const std::string &call, const std::string &what, const StageFigures &figures) {
  os << "| " << call << " | " << what << " | " << fixedText(figures.usMedian, 1) << " | "
     << fixedText(figures.cpuMedian, 1) << " | " << fixedText(100 * figures.share, 2, " %") << " |\n";
}

void writeStageTable(std::ostream &os, const BenchRun &run, bool csv) {
  bool passes = !run.isOfForward();
  if (csv)
    os << "name,isa,threads,tokens,step,kind,routing,us_median,cpu_us_median,share,rounds,rounds_accepted,pass\n";
  else
    os << (passes ? "\n| T | pass " : "\n| T ") << "| step | kind | time, us | processor time, us | share |\n"
       << (passes ? "|---:|---" : "|---:") << "|---|---|---:|---:|---:|\n";
  for (const BenchSeries &series : run.series) {
    const std::vector<BenchStep> &steps = stepsOf(run, series);
    std::string place = std::to_string(series.tokens) + (passes ? std::string(" | ") + passText(series.pass) : "");
    std::vector<StageFigures> figures = stageFigures(series, run.ceilings);
    BenchFigures call = figuresOf(series, run.ceilings);
    for (size_t i = 0; i < figures.size(); ++i) {
      const BenchStep &step = steps[i];
      if (!step.always)
        continue;
      if (csv)
        os << run.name << "," << run.isa << "," << run.threads << "," << series.tokens << "," << step.name << ","
           << step.kind << "," << (step.routing ? "yes" : "no") << "," << csvText(figures[i].usMedian) << ","
           << csvText(figures[i].cpuMedian) << "," << csvText(figures[i].share) << "," << call.rounds << ","
           << call.accepted << "," << passName(series.pass) << "\n";
      else
        writeRow(os, place, step.name + " | " + step.kind, figures[i]);
    }
    StageFigures routing = routingFigures(run, series);
    if (!csv)
      writeRow(os, place, "**all but expert matmuls** |", routing);
  }
  if (!csv)
    os << "\nMedians of the accepted rounds above, each step from its begin to its end; shares are of the steps "
          "of the "
          "same round"
       << (run.threads == 1 ? ", of processor time: a busy machine interrupts long steps only.\n" : ".\n");
}

void writeStageMembers(JsonWriter &os, const BenchRun &run, const BenchSeries &series) {
  std::vector<StageFigures> figures = stageFigures(series, run.ceilings);
  const std::vector<BenchStep> &steps = stepsOf(run, series);
  if (figures.empty())
    return;
  os.attributeArray("steps", [&] {
    for (size_t i = 0; i < figures.size(); ++i) {
      if (!steps[i].always)
        continue;
      os.object([&] {
        os.attribute("name", steps[i].name);
        os.attribute("kind", steps[i].kind);
        os.attribute("routing", steps[i].routing);
        writeNumber(os, "us_median", figures[i].usMedian);
        writeNumber(os, "cpu_us_median", figures[i].cpuMedian);
        writeNumber(os, "share", figures[i].share);
      });
    }
  });
  StageFigures routing = routingFigures(run, series);
  writeNumber(os, "routing_us_median", routing.usMedian);
  writeNumber(os, "routing_cpu_us_median", routing.cpuMedian);
  writeNumber(os, "routing_share", routing.share);
}

} // namespace moec
