// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tuning records in -> how far the default is from what was chosen, as a table; how a search went over time; and what
// failed, with the reasons.

#include "TuningTable.h"

#include "Axes.h"
#include "Svg.h"

#include "codegen/bench/FigureText.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace moec {

static constexpr size_t mostRows = 200, mostReasons = 12, mostNames = 4;
static constexpr double chartWidth = 960, chartHeight = 240;
static constexpr double nearRatio = 1.25;

static std::string cell(const std::string &text, const char *tag = "td") {
  return std::string("<") + tag + ">" + htmlText(text) + "</" + tag + ">";
}

static std::string paragraph(const std::string &text) { return "<p>" + htmlText(text) + "</p>\n"; }

static std::string percent(double value) { return fixedText(100 * value, 1, " %"); }

static size_t failuresOf(const LandscapeCell &cell) {
  return size_t(std::count_if(cell.candidates.begin(), cell.candidates.end(),
                              [](const LandscapeCandidate &candidate) { return candidate.failed; }));
}

static std::string decisionOf(const LandscapeCell &cell) {
  if (!cell.choice)
    return "not decided";
  std::string text = cell.choice->text.empty() ? "default kept" : cell.choice->text;
  return text + (cell.choice->unfinished ? " (search not finished)" : "");
}

static std::string rowOf(const LandscapeCell &one) {
  std::string gain = "-";
  if (one.choice)
    gain = (one.choice->text.empty() ? "best " : "") + percent(one.choice->gain) + " (" + percent(one.choice->gainLow) +
           " .. " + percent(one.choice->gainHigh) + ")";
  return "<tr>" + cell(one.name, "th") + cell(one.share > 0 ? percent(one.share) : "-") +
         cell(one.defaultUs > 0 ? timeText(one.defaultUs) : "-") +
         cell(std::isnan(one.distance()) ? "-" : fixedText(one.distance(), 3)) + cell(gain) +
         cell(std::to_string(one.candidates.size() - failuresOf(one))) + cell(std::to_string(failuresOf(one))) +
         cell(decisionOf(one)) + "</tr>\n";
}

// Geometric mean, share within 1.25, and what the budget left out.
static std::string summaryOf(const std::vector<Landscape> &files) {
  size_t decided = 0, near = 0, open = 0;
  double logs = 0, worst = 1;
  std::map<std::string, double> reached; // share of work, by stage; of files that say it
  for (const Landscape &file : files)
    for (const LandscapeCell &one : file.cells) {
      open += !one.choice || one.choice->unfinished;
      if (one.share > 0)
        reached[file.name + ": " + one.stage] += one.share;
      double distance = one.distance();
      if (std::isnan(distance))
        continue;
      ++decided;
      near += distance <= nearRatio;
      logs += std::log(distance);
      worst = std::max(worst, distance);
    }
  std::string html;
  if (decided)
    html += paragraph("The default takes " + fixedText(std::exp(logs / double(decided)), 3) +
                      " x the time of what was chosen (geometric mean of " + std::to_string(decided) +
                      (decided == 1 ? " cell" : " cells") + "), at most " + fixedText(worst, 3) +
                      " x; at most 1.25 x in " + percent(double(near) / double(decided)) + " of the cells.");
  std::string left;
  if (open)
    left = std::to_string(open) + (open == 1 ? " cell was" : " cells were") + " not searched to the end";
  for (const auto &[stage, share] : reached)
    if (share < 0.995)
      left +=
          (left.empty() ? "" : "; ") + stage + ": ranges with " + percent(1 - share) + " of the work have no record";
  if (!left.empty())
    html += "<p class=\"not-reached\">" + htmlText("Not reached by the budget: " + left + ".") + "</p>\n";
  return html;
}

std::string distanceTable(const std::vector<Landscape> &files) {
  std::string rows;
  size_t drawn = 0, more = 0;
  for (const Landscape &file : files)
    for (const LandscapeCell &one : file.cells)
      if (drawn == mostRows)
        ++more;
      else if (++drawn)
        rows += rowOf(one);
  if (rows.empty())
    return "";
  std::string html = summaryOf(files) + "<div class=\"wide\"><table class=\"distance\">\n<thead><tr>";
  for (const char *head : {"cell", "share of work", "default", "default / chosen", "gain", "timed", "failed", "chosen"})
    html += cell(head, "th");
  html += "</tr></thead>\n<tbody>\n" + rows + "</tbody></table></div>\n";
  return more ? html + paragraph(std::to_string(more) + " further cells are not in the table.") : html;
}

std::string failureList(const LandscapeCell &one) {
  std::map<std::string, std::vector<std::string>> byReason;
  for (const LandscapeCandidate &candidate : one.candidates)
    if (candidate.failed)
      byReason[candidate.result].push_back(candidate.text.empty() ? "the default again" : candidate.text);
  if (byReason.empty())
    return "";
  std::string html = "<ul class=\"failures\">\n";
  size_t shown = 0, more = 0;
  for (const auto &[reason, names] : byReason) {
    if (shown == mostReasons) {
      more += names.size();
      continue;
    }
    ++shown;
    std::string text = reason + " — ";
    for (size_t i = 0; i < std::min(names.size(), mostNames); ++i)
      text += (i ? "; " : "") + names[i];
    if (names.size() > mostNames)
      text += "; and " + std::to_string(names.size() - mostNames) + " more";
    html += "<li>" + htmlText(text) + "</li>\n";
  }
  if (more)
    html += "<li>" + std::to_string(more) + " more, for other reasons</li>\n";
  return html + "</ul>\n";
}

// A line that keeps its value until the next step.
static std::vector<Point> stairs(const std::vector<LandscapeStep> &course, const Axis &x, const Axis &y, bool timed,
                                 double LandscapeStep::*value) {
  std::vector<Point> points;
  for (const LandscapeStep &step : course) {
    double at = x.scale(timed ? step.seconds : double(step.measured));
    if (!points.empty())
      points.emplace_back(at, points.back().second);
    points.emplace_back(at, y.scale(100 * (step.*value)));
  }
  return points;
}

std::string courseChart(const Landscape &file) {
  if (file.course.size() < 2)
    return "";
  const LandscapeStep &last = file.course.back();
  bool timed = last.seconds >= 2;
  double end = timed ? last.seconds : double(std::max<size_t>(last.measured, 1)), lowest = 100;
  for (const LandscapeStep &step : file.course)
    lowest = std::min({lowest, 100 * step.best, 100 * step.proven});
  double lo = lowest - std::max(0.5, 0.1 * (100 - lowest)), hi = 100 + std::max(0.2, 0.05 * (100 - lowest));
  Axis x = {{false, 0, end, 58, chartWidth - 14},
            linearTicks(0, end, 8),
            timed ? "time of search, s" : "candidates measured"};
  Axis y = {{false, lo, hi, chartHeight - 46, 10}, linearTicks(lo, hi, 5), "time, % of the default's"};
  Svg svg("course", "Best so far in " + file.name + " over the time of the search", chartWidth, chartHeight);
  drawAxes(svg, x, y);
  std::vector<Point> proven = stairs(file.course, x, y, timed, &LandscapeStep::proven);
  svg.polyline("line s0", stairs(file.course, x, y, timed, &LandscapeStep::best),
               "fastest candidate so far: " + shortNumber(100 * last.best) + " % of the default's time in the end");
  svg.polyline("bound s1", proven, "chosen so far: " + shortNumber(100 * last.proven) + " % in the end");
  for (const LandscapeStep &step : file.course)
    if (!step.event.empty())
      svg.mark("mark s1", 3, {x.scale(timed ? step.seconds : double(step.measured)), y.scale(100 * step.proven)},
               "after " + (timed ? shortNumber(step.seconds) + " s" : std::to_string(step.measured) + " candidates") +
                   ": decided " + step.event + "; " + shortNumber(100 * step.proven) + " % of the default's time");
  return "<figure><figcaption>Best so far<br><span class=\"muted\">" + htmlText(file.name) +
         ": mean of all its cells; line: fastest candidate, dashed: what was chosen</span></figcaption>\n" +
         svg.finish() + "</figure>\n";
}

} // namespace moec
