// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series in -> a dot per T below the ceilings that were probed beside it out.

#include "Axes.h"
#include "Sections.h"

#include <algorithm>
#include <cmath>

namespace moec {

namespace {
// What a machine could do at most, with the first series that was measured below it.
struct Roof {
  double gflops, gbps;
  std::string peak, label;
  size_t series;
};
} // namespace

static constexpr double chartWidth = 960, chartHeight = 400;

static bool hasDot(const BenchResult &result) { return result.gflops > 0 && result.gbps > 0; }
static double intensityOf(const BenchResult &result) { return result.gflops / result.gbps; }

static bool alike(double a, double b) { return std::fabs(a - b) <= 0.04 * std::max(a, b); }

// Ceilings that differ by no more than probes do are one roof, the highest of them.
static std::vector<Roof> roofsOf(const std::vector<ReportSeries> &series) {
  std::vector<Roof> roofs;
  for (size_t i = 0; i < series.size(); ++i)
    for (const BenchResult *result : series[i].results) {
      if (!(result->peakGflops > 0 && result->readGbps > 0))
        continue;
      auto same = std::find_if(roofs.begin(), roofs.end(), [&](const Roof &roof) {
        return alike(roof.gflops, result->peakGflops) && alike(roof.gbps, result->readGbps);
      });
      if (same == roofs.end()) {
        roofs.push_back({result->peakGflops, result->readGbps, result->peak, series[i].label, i});
        continue;
      }
      same->gflops = std::max(same->gflops, result->peakGflops);
      same->gbps = std::max(same->gbps, result->readGbps);
    }
  return roofs;
}

static std::string rateText(double gflops) {
  return gflops >= 1e4 ? shortNumber(gflops / 1e3) + " TFLOP/s" : shortNumber(gflops) + " GFLOP/s";
}

static void drawRoof(Svg &svg, const Roof &roof, const Axis &x, const Axis &y, bool alone, LabelSpace &space) {
  double ridge = roof.gflops / roof.gbps, lo = x.scale.lo, hi = x.scale.hi;
  std::vector<Point> points;
  auto place = [&](double intensity) {
    points.emplace_back(x.scale(intensity), y.scale(std::min(roof.gflops, intensity * roof.gbps)));
  };
  double begin = std::max(lo, y.scale.lo / roof.gbps);
  place(begin);
  if (ridge > begin && ridge < hi)
    place(ridge);
  place(hi);
  std::string flat = rateText(roof.gflops) + " " + roof.peak, slope = shortNumber(roof.gbps) + " GB/s read";
  svg.polyline("roof" + (alone ? std::string() : " " + colourClass(roof.series)), points,
               (alone ? "" : roof.label + ": ") + flat + ", " + slope);
  if (!alone)
    return;
  double top = y.scale(roof.gflops) - 6;
  if (space.place(x.scale.to - textWidth(flat), top - 10, textWidth(flat), 13))
    svg.text("roof-label", {x.scale.to - 4, top}, flat, Anchor::End);
  if (ridge <= begin)
    return;
  double at = std::sqrt(begin * std::min(ridge, hi)); // the middle of the slope
  double angle = -std::atan2(y.scale(1) - y.scale(10), x.scale(10) - x.scale(1)) * 180 / std::acos(-1.0);
  svg.text("roof-label", {x.scale(at) - 5, y.scale(at * roof.gbps) - 7}, slope, Anchor::Middle, angle);
}

// Other units that were probed: a line each, so that one sees what a kernel leaves unused.
static void drawUnits(Svg &svg, const BenchResult &result, const Axis &x, const Axis &y, LabelSpace &space) {
  for (const auto &[name, gflops] : result.units) {
    if (alike(gflops, result.peakGflops) || gflops <= y.scale.lo || gflops > y.scale.hi)
      continue;
    double at = y.scale(gflops);
    std::string text = rateText(gflops) + " " + name;
    svg.polyline("unit", {{x.scale(std::max(x.scale.lo, gflops / result.readGbps)), at}, {x.scale.to, at}}, text);
    if (space.place(x.scale.to - textWidth(text), at - 16, textWidth(text), 13))
      svg.text("roof-label", {x.scale.to - 4, at - 6}, text, Anchor::End);
  }
}

// All marks first, so that no label lies on one.
static void drawDots(Svg &svg, const std::vector<ReportSeries> &series, const Axis &x, const Axis &y,
                     LabelSpace &space) {
  struct Label {
    Point at;
    std::string text, colour;
  };
  std::vector<Label> labels;
  for (size_t i = 0; i < series.size(); ++i)
    for (const BenchResult *result : series[i].results) {
      if (!hasDot(*result))
        continue;
      Point at = {x.scale(intensityOf(*result)), y.scale(result->gflops)};
      svg.mark("mark " + colourClass(i), int(i), at,
               series[i].label + ", T = " + std::to_string(result->tokens) + ": " + rateText(result->gflops) + ", " +
                   shortNumber(result->gbps) + " GB/s" +
                   (result->share > 0 ? ", " + shortNumber(100 * result->share) + " % of the bound" : ""));
      space.reserve(at.first - 5, at.second - 5, 10, 10);
      labels.push_back({at, std::to_string(result->tokens), colourClass(i)});
    }
  for (const auto &[at, text, colour] : labels) {
    double width = textWidth(text);
    for (auto [dx, dy] : {Point(8, 4), Point(-8 - width, 4), Point(-width / 2, 18), Point(-width / 2, -9)})
      if (at.first + dx > x.scale.from && at.first + dx + width < x.scale.to &&
          space.place(at.first + dx, at.second + dy - 10, width, 12)) {
        svg.text("dot-label " + colour, {at.first + dx, at.second + dy}, text);
        break;
      }
  }
}

Section rooflineSection(const std::vector<ReportSeries> &series) {
  Section section{"roofline", "Roofline", "", "", ""};
  section.missing = series.empty() ? "no input is a result of moec bench" : "no result has both a time and ceilings";
  std::vector<Roof> roofs = roofsOf(series);
  std::vector<double> intensities, rates;
  for (const ReportSeries &one : series)
    for (const BenchResult *result : one.results)
      if (hasDot(*result)) {
        intensities.push_back(intensityOf(*result));
        rates.push_back(result->gflops);
        for (const auto &[name, gflops] : result->units)
          rates.push_back(gflops);
      }
  if (roofs.empty() || intensities.empty())
    return section;
  for (const Roof &roof : roofs) {
    intensities.push_back(roof.gflops / roof.gbps);
    rates.push_back(roof.gflops);
  }
  auto [loX, hiX] = rangeOf(intensities, true, 0.08);
  auto [loY, hiY] = rangeOf(rates, true, 0.1);
  Axis x = {{true, loX, hiX, 66, chartWidth - 14}, logTicks(loX, hiX), "FLOP per byte of weights read"};
  Axis y = {{true, loY, hiY, chartHeight - 46, 12}, logTicks(loY, hiY), "GFLOP/s"};
  Svg svg("roofline", "Rate of arithmetic against arithmetic intensity, below the probed ceilings", chartWidth,
          chartHeight);
  drawAxes(svg, x, y);
  LabelSpace space;
  for (const Roof &roof : roofs)
    drawRoof(svg, roof, x, y, roofs.size() == 1, space);
  if (roofs.size() == 1)
    drawUnits(svg, *series[roofs[0].series].results.front(), x, y, space);
  drawDots(svg, series, x, y, space);
  section.body = legendHtml(labelsOf(series), true) + svg.finish();
  section.note = "A dot is a T, which its label names. The roof is what was probed in the same run: reads of memory on "
                 "the slope, arithmetic from registers on the flat part.";
  for (const Roof &roof : roofs)
    if (roofs.size() > 1)
      section.note +=
          " " + roof.label + ": " + rateText(roof.gflops) + " " + roof.peak + ", " + shortNumber(roof.gbps) + " GB/s.";
  return section;
}

} // namespace moec
