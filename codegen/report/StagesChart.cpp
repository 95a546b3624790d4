// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series with times of steps in -> a stacked bar per series and T out.

#include "Axes.h"
#include "Sections.h"

#include <algorithm>

namespace moec {

namespace {
struct Bar {
  std::string label;
  const BenchResult *result;
  double total = 0; // of the shares
};
} // namespace

static constexpr double chartWidth = 960, barHeight = 22, barStep = 30;
static constexpr size_t mostBars = 60;

static double shareSum(const BenchResult &result) {
  double sum = 0;
  for (const StepResult &step : result.steps)
    sum += step.share > 0 ? step.share : 0;
  return sum;
}

// Names of all steps, in the order in which a call takes them.
static std::vector<std::string> stepNames(const std::vector<Bar> &bars) {
  std::vector<std::string> names;
  for (const Bar &bar : bars)
    for (const StepResult &step : bar.result->steps)
      if (step.share > 0 && std::find(names.begin(), names.end(), step.name) == names.end())
        names.push_back(step.name);
  return names;
}

static void drawBar(Svg &svg, const Bar &bar, const std::vector<std::string> &names, const Scale &x, double y) {
  double begin = 0;
  for (const StepResult &step : bar.result->steps) {
    if (!(step.share > 0))
      continue;
    size_t colour = size_t(std::find(names.begin(), names.end(), step.name) - names.begin());
    double part = 100 * step.share / bar.total, width = x(begin + part) - x(begin);
    std::string figure = shortNumber(part) + " %";
    svg.rect("segment " + colourClass(colour), {x(begin), y}, std::max(width, 0.1), barHeight,
             bar.label + ", " + step.name + ": " + figure + (step.us > 0 ? ", " + timeText(step.us) : ""));
    if (width > textWidth(figure) + 8)
      svg.text("in-segment", {x(begin + part / 2), y + barHeight / 2 + 4}, figure, Anchor::Middle);
    begin += part;
  }
}

Section stagesSection(const std::vector<ReportSeries> &series) {
  Section section{"stages", "Where a call spends its time", "", "", "no input was measured with --stages"};
  std::vector<Bar> bars;
  size_t more = 0;
  for (const ReportSeries &one : series)
    for (const BenchResult *result : one.results) {
      double total = shareSum(*result);
      if (total <= 0)
        continue;
      if (bars.size() == mostBars)
        ++more;
      else
        bars.push_back(
            {(series.size() > 1 ? one.label + ", " : "") + "T = " + std::to_string(result->tokens), result, total});
    }
  if (bars.empty())
    return section;
  double labels = 0;
  for (const Bar &bar : bars)
    labels = std::max(labels, textWidth(bar.label));
  labels = std::min(labels, 230.0);
  std::vector<std::string> names = stepNames(bars);
  double bottom = 10 + barStep * double(bars.size());
  Axis x = {{false, 0, 100, labels + 20, chartWidth - 80}, linearTicks(0, 100, 5), "share of the steps of a call, %"};
  Svg svg("stages", "Share of every step of a call", chartWidth, bottom + 46);
  for (const Tick &tick : x.ticks) {
    svg.line("grid", {x.scale(tick.value), bottom}, {x.scale(tick.value), 6});
    svg.text("tick", {x.scale(tick.value), bottom + 16}, tick.label, Anchor::Middle);
  }
  svg.line("axis", {x.scale.from, bottom}, {x.scale.to, bottom});
  svg.text("axis-title", {(x.scale.from + x.scale.to) / 2, bottom + 36}, x.title, Anchor::Middle);
  for (size_t i = 0; i < bars.size(); ++i) {
    double y = 10 + barStep * double(i);
    svg.text("tick", {labels + 12, y + barHeight / 2 + 4}, fittedText(bars[i].label, labels), Anchor::End);
    drawBar(svg, bars[i], names, x.scale, y);
    svg.text("tick", {x.scale.to + 8, y + barHeight / 2 + 4}, timeText(bars[i].result->usMedian));
  }
  section.body = legendHtml(names, false) + svg.finish();
  section.note = "Medians of each step's share of all steps of its round; at the right, the time of the whole call.";
  if (more)
    section.note += " " + std::to_string(more) + " further calls are not shown.";
  return section;
}

} // namespace moec
