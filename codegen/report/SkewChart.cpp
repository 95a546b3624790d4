// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series that differ only in routing in -> a map of routing and T, each cell the time divided by that of uniform
// routing, out.

#include "Axes.h"
#include "Sections.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace moec {

namespace {
// T -> result, per routing.
using ResultsByTokens = std::map<int64_t, const BenchResult *>;
struct SkewGroup {
  std::string name;
  std::map<std::string, ResultsByTokens> skews;
};
} // namespace

static constexpr double cellHeight = 30, widestCell = 80, chartWidth = 960;

static std::vector<SkewGroup> groupsOf(const std::vector<ReportSeries> &series) {
  std::vector<SkewGroup> groups;
  for (const ReportSeries &one : series) {
    const BenchContext &context = one.context();
    std::string name = context.name + ", " + context.weightType + ", " + context.isa + ", " +
                       std::to_string(context.threads) + (context.threads == 1 ? " thread" : " threads") +
                       (context.cold ? "" : ", warm") +
                       (one.pass() == BenchPass::Forward ? "" : std::string(", ") + passText(one.pass()));
    auto same = std::find_if(groups.begin(), groups.end(), [&](const SkewGroup &group) { return group.name == name; });
    if (same == groups.end())
      same = groups.insert(groups.end(), {name, {}});
    for (const BenchResult *result : one.results)
      if (result->usMedian > 0)
        same->skews[context.skew].emplace(result->tokens, result);
  }
  groups.erase(
      std::remove_if(groups.begin(), groups.end(),
                     [](const SkewGroup &group) { return !group.skews.count("uniform") || group.skews.size() < 2; }),
      groups.end());
  return groups;
}

// "h3": slower, "l3": faster, by up to five steps of a sixth of a factor of two.
static std::string heatClass(double ratio) {
  int step = std::min(5, int(std::fabs(std::log2(ratio)) * 6 + 0.5));
  return (ratio >= 1 ? "h" : "l") + std::to_string(step);
}

static std::string drawGroup(const SkewGroup &group) {
  const ResultsByTokens &uniform = group.skews.at("uniform");
  std::vector<std::string> rows = {"uniform"};
  std::set<int64_t> tokens;
  double labels = textWidth("uniform");
  for (const auto &[skew, results] : group.skews) {
    if (skew != "uniform")
      rows.push_back(skew);
    labels = std::min(160.0, std::max(labels, textWidth(skew)));
    for (const auto &[t, result] : results)
      tokens.insert(t);
  }
  double left = labels + 44, cell = std::min(widestCell, (chartWidth - left - 10) / double(tokens.size()));
  double bottom = 8 + cellHeight * double(rows.size());
  Svg svg("skew", "Time divided by that of uniform routing: " + group.name, left + cell * double(tokens.size()) + 10,
          bottom + 42);
  LabelSpace space;
  for (size_t row = 0; row < rows.size(); ++row) {
    double y = 8 + cellHeight * double(row), x = left;
    svg.text("tick", {left - 8, y + cellHeight / 2 + 4}, fittedText(rows[row], labels), Anchor::End);
    for (int64_t t : tokens) {
      auto here = group.skews.at(rows[row]).find(t), even = uniform.find(t);
      bool known = here != group.skews.at(rows[row]).end() && even != uniform.end();
      double ratio = known ? here->second->usMedian / even->second->usMedian : NAN;
      std::string title = rows[row] + ", T = " + std::to_string(t) + ": ";
      title += known ? shortNumber(ratio) + " x uniform (" + timeText(here->second->usMedian) + ", " +
                           timeText(even->second->usMedian) + ")"
                     : "not measured";
      svg.rect("cell " + (known ? heatClass(ratio) : "unknown"), {x + 1, y + 1}, cell - 2, cellHeight - 2, title);
      char text[16] = "-";
      if (known)
        std::snprintf(text, sizeof text, "%.2f", ratio);
      if (textWidth(text) < cell - 2)
        svg.text("in-cell", {x + cell / 2, y + cellHeight / 2 + 4}, text, Anchor::Middle);
      std::string label = std::to_string(t);
      if (row + 1 == rows.size() &&
          space.place(x + cell / 2 - textWidth(label) / 2 - 2, bottom, textWidth(label) + 4, 13))
        svg.text("tick", {x + cell / 2, bottom + 15}, label, Anchor::Middle);
      x += cell;
    }
  }
  svg.text("axis-title", {left + cell * double(tokens.size()) / 2, bottom + 34}, "tokens of a call, T", Anchor::Middle);
  svg.text("axis-title", {14, 8 + (bottom - 8) / 2}, "routing", Anchor::Middle, -90);
  return "<figure class=\"small\"><figcaption>" + htmlText(group.name) + "</figcaption>\n" + svg.finish() +
         "</figure>\n";
}

Section skewSection(const std::vector<ReportSeries> &series) {
  Section section{"skew", "Cost of uneven routing", "", "",
                  "no layer was measured with --skew uniform and with another routing"};
  for (const SkewGroup &group : groupsOf(series))
    section.body += drawGroup(group);
  section.note = "Time divided by that of uniform routing at the same T. Uneven routing touches fewer experts, so less "
                 "memory is read.";
  return section;
}

} // namespace moec
