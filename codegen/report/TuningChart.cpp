// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tuning records in -> per cell its candidates from fast to slow, with the default among them, out.

#include "Axes.h"
#include "Sections.h"
#include "TuningTable.h"

#include <algorithm>
#include <cmath>

namespace moec {

static constexpr double chartWidth = 370, chartHeight = 230;
static constexpr size_t mostCells = 40, mostCandidates = 1500;

static std::string tooltipOf(const LandscapeCandidate &candidate, double defaultUs) {
  std::string text = candidate.text.empty() ? "the default again" : candidate.text;
  if (!std::isnan(candidate.us))
    text += ": " + timeText(candidate.us);
  if (defaultUs > 0 && candidate.us > 0)
    text += ", " + shortNumber(100 * candidate.us / defaultUs) + " % of the default's time";
  return text + (candidate.result.empty() ? "" : ", " + candidate.result);
}

static std::string drawCell(const LandscapeCell &cell) {
  std::vector<const LandscapeCandidate *> timed, failed;
  std::vector<double> times = {cell.defaultUs};
  for (const LandscapeCandidate &candidate : cell.candidates)
    (candidate.failed ? failed : timed).push_back(&candidate);
  std::sort(timed.begin(), timed.end(), [](auto *a, auto *b) { return a->us < b->us; });
  for (const LandscapeCandidate *candidate : timed)
    times.push_back(candidate->us);
  auto [lo, hi] = rangeOf(times, true, 0.08);
  if (lo == 0)
    lo = 1, hi = 10; // every candidate failed
  bool milli = hi > 3000;
  double unit = milli ? 1000 : 1;
  lo /= unit;
  hi /= unit;
  double lane = failed.empty() ? 0 : 16, places = double(timed.size()) + 1;
  Axis x = {
      {false, 0, places, 58, chartWidth - 10}, linearTicks(1, double(timed.size()), 6), "candidates, fastest first"};
  x.ticks.erase(std::remove_if(x.ticks.begin(), x.ticks.end(),
                               [&](const Tick &tick) {
                                 return tick.value > double(timed.size()) || tick.value != std::floor(tick.value);
                               }),
                x.ticks.end());
  Axis y = {{true, lo, hi, chartHeight - 46, 10 + lane}, logTicks(lo, hi), milli ? "time, ms" : "time, µs"};
  if (std::count_if(y.ticks.begin(), y.ticks.end(), [](const Tick &tick) { return !tick.label.empty(); }) < 2)
    y.ticks = linearTicks(lo, hi, 5);
  Svg svg("tuning", "Candidates of " + cell.name + " in order of time", chartWidth, chartHeight);
  drawAxes(svg, x, y);
  size_t step = timed.size() / mostCandidates + 1;
  for (size_t i = 0; i < timed.size(); i += step)
    svg.mark("candidate", 0, {x.scale(double(i + 1)), y.scale(timed[i]->us / unit)},
             tooltipOf(*timed[i], cell.defaultUs), 0.75);
  for (size_t i = 0; i < failed.size() && i < mostCandidates; ++i)
    svg.cross("failed", {x.scale.from + (x.scale.to - x.scale.from) * (double(i) + 0.5) / double(failed.size()), 12},
              tooltipOf(*failed[i], NAN));
  std::string summary = std::to_string(timed.size()) + (timed.size() == 1 ? " candidate" : " candidates");
  if (!failed.empty())
    summary += ", " + std::to_string(failed.size()) + " wrong or failed";
  if (cell.defaultUs > 0) {
    double at = y.scale(cell.defaultUs / unit);
    size_t rank = size_t(std::count_if(timed.begin(), timed.end(), [&](const LandscapeCandidate *candidate) {
      return candidate->us < cell.defaultUs;
    }));
    svg.line("default-line", {x.scale.from, at}, {x.scale.to, at});
    svg.mark("default", 3, {x.scale(double(rank) + (rank < timed.size() ? 0.5 : 0.9)), at},
             "default: " + timeText(cell.defaultUs) + ", behind " + std::to_string(rank) + " of " +
                 std::to_string(timed.size()),
             1.3);
    if (!timed.empty())
      summary += "; the best takes " + shortNumber(100 * timed[0]->us / cell.defaultUs) + " % of the default's time";
  }
  return "<figure class=\"small\"><figcaption>" + htmlText(cell.name) + "<br><span class=\"muted\">" +
         htmlText(summary) + "</span></figcaption>\n" + svg.finish() + failureList(cell) + "</figure>\n";
}

Section tuningSection(const std::vector<Landscape> &files) {
  Section section{"tuning", "Tuning landscape", "", "", "no input holds records of tuning"};
  size_t drawn = 0, more = 0, skipped = 0, choicesOnly = 0;
  for (const Landscape &file : files) {
    skipped += file.skippedLines;
    for (const LandscapeCell &cell : file.cells)
      if (cell.candidates.empty()) // of them no record is left
        ++choicesOnly;
      else if (drawn == mostCells)
        ++more;
      else if (++drawn)
        section.body += drawCell(cell);
  }
  if (!files.empty() && !drawn && !choicesOnly)
    section.missing = "the records of tuning hold no measurement";
  if (!section.body.empty())
    section.body = "<div class=\"grid-of-charts\">\n" + section.body + "</div>\n";
  std::string courses;
  for (const Landscape &file : files)
    courses += courseChart(file);
  section.body = distanceTable(files) + courses + section.body;
  section.note = "A dot is a candidate, a diamond the default, a cross one that gave wrong results or did not run.";
  if (more)
    section.note += " " + std::to_string(more) + " further cells are not shown.";
  if (skipped)
    section.note += " " + std::to_string(skipped) + " lines are not records.";
  return section;
}

} // namespace moec
