// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Steps of rounds in -> figures and tables of steps out.

#include "BenchStages.h"

#include "llvm/Support/Format.h"

#include <algorithm>
#include <numeric>

using namespace llvm;

namespace moec {

static const char *kindOf(const moec_step &step) {
  static const char *kinds[] = {"rows", "matmul", "dispatch", "counts", "capacity", "top_tokens", "slots", "columns"};
  return step.kind < std::size(kinds) ? kinds[step.kind] : "unknown";
}

// A matmul whose weights are no router's.
static bool isExpertMatmul(const LaunchPlan &plan, const moec_step &step) {
  if (step.kind != MOEC_STEP_MATMUL || step.num_args < 2)
    return false;
  const moec_buffer &buffer = plan.buffers[plan.args[step.first_arg + 1]];
  if (buffer.kind != MOEC_BUFFER_WEIGHT || buffer.slot >= plan.weights.size())
    return false;
  return !plan.string(plan.roles[plan.weights[buffer.slot].role[0]].name).starts_with("router.");
}

std::vector<BenchStep> benchSteps(const LaunchPlan &plan) {
  std::vector<BenchStep> steps;
  for (const moec_step &step : plan.steps)
    steps.push_back({plan.string(step.name).str(), kindOf(step), !isExpertMatmul(plan, step)});
  return steps;
}

void StageClock::onStep(void *context, uint32_t step) {
  auto *clock = static_cast<StageClock *>(context);
  auto now = std::chrono::steady_clock::now();
  if (clock->open < clock->times.size())
    clock->times[clock->open] += std::chrono::duration<double, std::micro>(now - clock->begin).count();
  clock->open = step;
  clock->begin = now;
}

std::vector<double> StageClock::take() {
  std::vector<double> taken(times.size());
  std::swap(taken, times);
  open = SIZE_MAX;
  return taken;
}

static double median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

// `part` of every round that counts, as it is and as a fraction of all steps of the round.
template <typename Part> static StageFigures figuresOfPart(const BenchSeries &series, const ProbeResult &best, Part part) {
  std::vector<double> times, shares;
  bool any = std::any_of(series.rounds.begin(), series.rounds.end(), [&](const BenchRound &round) { return accepted(round, best); });
  for (const BenchRound &round : series.rounds) {
    double all = std::accumulate(round.stepUs.begin(), round.stepUs.end(), 0.0);
    if ((any && !accepted(round, best)) || all <= 0)
      continue;
    times.push_back(part(round));
    shares.push_back(times.back() / all);
  }
  return {median(times), median(shares)};
}

std::vector<StageFigures> stageFigures(const BenchSeries &series, const ProbeResult &best) {
  std::vector<StageFigures> figures;
  size_t steps = series.rounds.empty() ? 0 : series.rounds.front().stepUs.size();
  for (size_t i = 0; i < steps; ++i)
    figures.push_back(figuresOfPart(series, best, [i](const BenchRound &round) { return round.stepUs[i]; }));
  return figures;
}

StageFigures routingFigures(const BenchRun &run, const BenchSeries &series) {
  return figuresOfPart(series, run.ceilings, [&](const BenchRound &round) {
    double sum = 0;
    for (size_t i = 0; i < round.stepUs.size() && i < run.steps.size(); ++i)
      sum += run.steps[i].routing ? round.stepUs[i] : 0;
    return sum;
  });
}

void writeStageTable(raw_ostream &os, const BenchRun &run, bool csv) {
  os << (csv ? "name,isa,threads,tokens,step,kind,routing,us_median,share,rounds,rounds_accepted\n"
             : "\n| T | step | kind | time, us | share |\n|---:|---|---|---:|---:|\n");
  for (const BenchSeries &series : run.series) {
    std::vector<StageFigures> figures = stageFigures(series, run.ceilings);
    BenchFigures call = figuresOf(series, run.ceilings);
    for (size_t i = 0; i < figures.size(); ++i) {
      const BenchStep &step = run.steps[i];
      if (csv)
        os << run.name << "," << run.isa << "," << run.threads << "," << series.tokens << "," << step.name << "," << step.kind << ","
           << (step.routing ? "yes" : "no") << format(",%.6g,%.6g,%zu,%zu\n", figures[i].usMedian, figures[i].share, call.rounds, call.accepted);
      else
        os << format("| %lld | %s | %s | %.1f | %.2f %% |\n", (long long)series.tokens, step.name.c_str(), step.kind.c_str(),
                     figures[i].usMedian, 100 * figures[i].share);
    }
    StageFigures routing = routingFigures(run, series);
    if (!csv)
      os << format("| %lld | **all but expert matmuls** | | %.1f | %.2f %% |\n", (long long)series.tokens, routing.usMedian, 100 * routing.share);
  }
  if (!csv)
    os << "\nMedians of the rounds above, each step from its begin to the next one's; shares are of the steps of the same round.\n";
}

void writeStageMembers(json::OStream &os, const BenchRun &run, const BenchSeries &series) {
  auto number = [&](StringRef key, double value) {
    std::string text;
    raw_string_ostream(text) << format("%.6g", value);
    os.attributeBegin(key);
    os.rawValue(text);
    os.attributeEnd();
  };
  std::vector<StageFigures> figures = stageFigures(series, run.ceilings);
  if (figures.empty())
    return;
  os.attributeArray("steps", [&] {
    for (size_t i = 0; i < figures.size(); ++i)
      os.object([&] {
        os.attribute("name", run.steps[i].name);
        os.attribute("kind", run.steps[i].kind);
        os.attribute("routing", run.steps[i].routing);
        number("us_median", figures[i].usMedian);
        number("share", figures[i].share);
      });
  });
  StageFigures routing = routingFigures(run, series);
  number("routing_us_median", routing.usMedian);
  number("routing_share", routing.share);
}

} // namespace moec
