// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scales and ticks in -> grid lines and labels out.

#include "Axes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace moec {

double Scale::operator()(double value) const {
  double place = log ? std::log(value / lo) / std::log(hi / lo) : (value - lo) / (hi - lo);
  return from + (to - from) * place;
}

std::pair<double, double> rangeOf(const std::vector<double> &values, bool log, double margin) {
  double lo = INFINITY, hi = -INFINITY;
  for (double value : values)
    if (std::isfinite(value) && (!log || value > 0)) {
      lo = std::min(lo, value);
      hi = std::max(hi, value);
    }
  if (lo > hi)
    return {0, 0};
  if (log) {
    double factor = hi > lo ? std::pow(hi / lo, margin) : 1;
    factor = std::max(factor, hi > lo ? 1.05 : 2);
    return {lo / factor, hi * factor};
  }
  double length = hi > lo ? hi - lo : std::max(1.0, std::fabs(hi));
  return {lo - margin * length, hi + margin * length};
}

std::string shortNumber(double value) {
  if (std::isnan(value))
    return "-";
  char text[64];
  double size = std::fabs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) {
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
  }
  int digits = size >= 100 || size == 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3 - int(std::ceil(std::log10(size)));
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  std::string out = text;
  size_t point = out.find('.');
  if (point != std::string::npos) {
    out.erase(out.find_last_not_of('0') + 1);
    if (out.back() == '.')
      out.pop_back();
    point = out.find('.');
  }
  size_t end = point == std::string::npos ? out.size() : point, begin = out[0] == '-' ? 1 : 0;
  for (size_t at = end; at > begin + 3;)
    out.insert(at -= 3, ",");
  return out;
}

std::string timeText(double us) {
  if (std::isnan(us))
    return "-";
  return us < 1000 ? shortNumber(us) + " µs" : us < 1e6 ? shortNumber(us / 1e3) + " ms" : shortNumber(us / 1e6) + " s";
}

std::vector<Tick> logTicks(double lo, double hi) {
  std::vector<Tick> ticks;
  double decades = std::log10(hi / lo);
  int step = std::max(1, int(std::ceil(decades / 12))); // of very long axes not every power has a line
  for (int power = int(std::floor(std::log10(lo))); power <= int(std::ceil(std::log10(hi))); ++power)
    for (double factor : {1.0, 2.0, 5.0}) {
      double value = factor * std::pow(10.0, power);
      if (value < lo * (1 - 1e-9) || value > hi * (1 + 1e-9) || (factor > 1 && decades > 4) || power % step)
        continue;
      ticks.push_back({value, factor == 1 || decades <= 2.2 ? shortNumber(value) : ""});
    }
  return ticks;
}

std::vector<Tick> linearTicks(double lo, double hi, int atMost) {
  double raw = (hi - lo) / std::max(1, atMost), power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power;
  for (double factor : {1.0, 2.0, 5.0, 10.0})
    if (step = factor * power; step >= raw)
      break;
  std::vector<Tick> ticks;
  for (double n = std::ceil(lo / step - 1e-9); n * step <= hi + 1e-9 * step; ++n)
    ticks.push_back({n * step + 0.0, shortNumber(n * step + 0.0)}); // + 0: there is a -0
  return ticks;
}

std::vector<Tick> valueTicks(const std::vector<double> &values) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<Tick> ticks;
  for (double value : sorted)
    ticks.push_back({value, shortNumber(value)});
  return ticks;
}

bool LabelSpace::place(double x, double y, double width, double height) {
  for (const Box &box : boxes)
    if (x < box.x + box.width && box.x < x + width && y < box.y + box.height && box.y < y + height)
      return false;
  boxes.push_back({x, y, width, height});
  return true;
}

static constexpr double lineHeight = 13;

void drawAxes(Svg &svg, const Axis &x, const Axis &y) {
  double left = x.scale.from, right = x.scale.to, bottom = y.scale.from, top = y.scale.to;
  LabelSpace space;
  for (const Tick &tick : x.ticks) {
    double at = x.scale(tick.value), width = textWidth(tick.label);
    bool labelled = !tick.label.empty() && space.place(at - width / 2 - 3, bottom + 4, width + 6, lineHeight);
    svg.line("grid", {at, bottom}, {at, top});
    if (labelled)
      svg.text("tick", {at, bottom + 16}, tick.label, Anchor::Middle);
  }
  for (const Tick &tick : y.ticks) {
    double at = y.scale(tick.value), width = textWidth(tick.label);
    bool labelled = !tick.label.empty() && space.place(left - 6 - width, at - lineHeight / 2, width, lineHeight);
    svg.line("grid", {left, at}, {right, at});
    if (labelled)
      svg.text("tick", {left - 6, at + 4}, tick.label, Anchor::End);
  }
  svg.line("axis", {left, bottom}, {right, bottom});
  svg.line("axis", {left, bottom}, {left, top});
  svg.text("axis-title", {(left + right) / 2, bottom + 36}, x.title, Anchor::Middle);
  svg.text("axis-title", {14, (top + bottom) / 2}, y.title, Anchor::Middle, -90);
}

} // namespace moec
