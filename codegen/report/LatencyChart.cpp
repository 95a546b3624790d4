// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series in -> their times over T out, both logarithmic: a line of medians, a band from the fastest to the slowest
// accepted round, and dashed the bound of the call.

#include "Axes.h"
#include "Sections.h"

#include <algorithm>

namespace moec {

namespace {
struct TimeUnit {
  const char *name;
  double us;
};

struct LatencyPlot {
  Axis x, y;
  TimeUnit unit;
};
} // namespace

static constexpr double chartWidth = 960, chartHeight = 380;

static bool isTimed(const BenchResult &result) { return result.tokens > 0 && result.usMedian > 0; }

static TimeUnit unitOf(double largestUs) {
  if (largestUs >= 2e6)
    return {"s", 1e6};
  return largestUs >= 2e3 ? TimeUnit{"ms", 1e3} : TimeUnit{"µs", 1};
}

static LatencyPlot plotOf(const std::vector<ReportSeries> &series) {
  std::vector<double> tokens, times;
  for (const ReportSeries &one : series)
    for (const BenchResult *result : one.results)
      if (isTimed(*result)) {
        tokens.push_back(double(result->tokens));
        for (double us : {result->usMedian, result->usLow, result->usHigh, result->boundUs})
          times.push_back(us);
      }
  LatencyPlot plot;
  double largest = 0;
  for (double us : times)
    largest = us > largest ? us : largest; // not of NaN
  plot.unit = unitOf(largest);
  for (double &us : times)
    us /= plot.unit.us;
  auto [loT, hiT] = rangeOf(tokens, true, 0.03);
  auto [lo, hi] = rangeOf(times, true, 0.06);
  plot.x = {{true, loT, hiT, 66, chartWidth - 14}, valueTicks(tokens), "tokens of a call, T"};
  plot.y = {{true, lo, hi, chartHeight - 46, 12}, logTicks(lo, hi), std::string("time of a call, ") + plot.unit.name};
  return plot;
}

static std::string tooltipOf(const ReportSeries &one, const BenchResult &result) {
  std::string text = one.label + ", T = " + std::to_string(result.tokens) + ": " + timeText(result.usMedian) + " (" +
                     timeText(result.usLow) + " to " + timeText(result.usHigh) + "), " +
                     std::to_string(result.accepted) + " of " + std::to_string(result.rounds) + " rounds";
  if (result.share > 0)
    text += ", " + shortNumber(100 * result.share) + " % of the bound";
  return text;
}

static void drawSeries(Svg &svg, const LatencyPlot &plot, const ReportSeries &one, size_t index) {
  std::vector<Point> medians, band, back, bound;
  std::string colour = " " + colourClass(index);
  for (const BenchResult *result : one.results) {
    if (!isTimed(*result))
      continue;
    double x = plot.x.scale(double(result->tokens));
    auto y = [&](double us) { return plot.y.scale(us / plot.unit.us); };
    medians.emplace_back(x, y(result->usMedian));
    if (result->usLow > 0 && result->usHigh > 0) {
      band.emplace_back(x, y(result->usLow));
      back.emplace_back(x, y(result->usHigh));
    }
    if (result->boundUs > 0)
      bound.emplace_back(x, y(result->boundUs));
  }
  if (medians.empty())
    return;
  band.insert(band.end(), back.rbegin(), back.rend());
  if (band.size() >= 4)
    svg.polygon("band" + colour, band, one.label + ": fastest to slowest accepted round");
  else if (band.size() == 2)
    svg.line("whisker" + colour, band[0], band[1]);
  if (bound.size() > 1)
    svg.polyline("bound" + colour, bound, one.label + ": bound");
  if (medians.size() > 1)
    svg.polyline("line" + colour, medians, one.label);
  size_t at = 0;
  for (const BenchResult *result : one.results)
    if (isTimed(*result))
      svg.mark("mark" + colour, int(index), medians[at++], tooltipOf(one, *result));
}

Section latencySection(const std::vector<ReportSeries> &series) {
  Section section{"latency", "Latency against tokens", "", "", ""};
  section.missing = series.empty() ? "no input is a result of moec bench" : "no T has an accepted round";
  bool any = false;
  for (const ReportSeries &one : series)
    any |= std::any_of(one.results.begin(), one.results.end(), [](const BenchResult *r) { return isTimed(*r); });
  if (!any)
    return section;
  LatencyPlot plot = plotOf(series);
  Svg svg("latency", "Time of a call against its tokens", chartWidth, chartHeight);
  drawAxes(svg, plot.x, plot.y);
  for (size_t i = 0; i < series.size(); ++i)
    drawSeries(svg, plot, series[i], i);
  section.body = legendHtml(labelsOf(series), true) + svg.finish();
  section.note =
      "Medians of the accepted rounds; the band reaches from the fastest to the slowest of them. Dashed: the "
      "bound, which no call can beat. Both axes are logarithmic.";
  return section;
}

} // namespace moec
