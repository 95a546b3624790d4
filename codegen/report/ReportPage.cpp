// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sections in -> the page out: charts first, then the figures, what they depend on, and what was left out.

#include "ReportPage.h"

#include "Sections.h"
#include "Svg.h"
#include "Theme.h"

#include <algorithm>
#include <set>

namespace moec {

// The layers, or how many there are.
static std::string headline(const std::vector<ReportSeries> &series) {
  std::set<std::string> names;
  for (const ReportSeries &one : series)
    names.insert(one.context().name);
  if (names.empty())
    return "Tuning";
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return names.size() > 4 ? std::to_string(names.size()) + " layers" : text;
}

// "2 runs, measured 2026-11-23 to 2026-11-24 on AMD EPYC".
static std::string subline(const std::vector<ReportSeries> &series) {
  std::set<std::string> days, machines;
  for (const ReportSeries &one : series)
    for (const BenchResult *result : one.results) {
      if (result->context.date.size() >= 10)
        days.insert(result->context.date.substr(0, 10));
      if (!result->context.machine.brand.empty())
        machines.insert(result->context.machine.brand);
    }
  std::string text = std::to_string(series.size()) + (series.size() == 1 ? " run" : " runs");
  if (!days.empty())
    text += ", measured " + *days.begin() + (days.size() > 1 ? " to " + *days.rbegin() : "");
  if (!machines.empty())
    text +=
        " on " + (machines.size() == 1 ? *machines.begin() : std::to_string(machines.size()) + " kinds of machines");
  return text;
}

static std::string sectionHtml(const Section &section) {
  std::string html = "<section id=\"" + section.id + "\"><h2>" + htmlText(section.title) + "</h2>\n" + section.body;
  if (!section.note.empty())
    html += "<p class=\"note\">" + htmlText(section.note) + "</p>\n";
  return html + "</section>\n";
}

std::string reportPage(const ReportInputs &inputs) {
  std::vector<ReportSeries> series = seriesOf(inputs.results);
  std::vector<Section> sections = {latencySection(series), stagesSection(series),        rooflineSection(series),
                                   skewSection(series),    tuningSection(inputs.tuning), resultsSection(series),
                                   resourceSection(series)};
  std::string title = headline(series);
  std::string html = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                     "'unsafe-inline'\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
                     htmlText(title) + " - moec report</title>\n<style>" + reportStyle +
                     "</style>\n</head>\n<body>\n<header><h1>" + htmlText(title) + "</h1>\n<p class=\"muted\">" +
                     htmlText(subline(series)) + "</p></header>\n<main>\n";
  std::string leftOut;
  for (const Section &section : sections)
    if (!section.body.empty())
      html += sectionHtml(section);
    else
      leftOut += "<li>" + htmlText(section.title) + ": " + htmlText(section.missing) + ".</li>\n";
  if (!leftOut.empty())
    html += "<section id=\"left-out\"><h2>Left out</h2>\n<ul class=\"note\">\n" + leftOut + "</ul></section>\n";
  return html + "</main>\n</body>\n</html>\n";
}

} // namespace moec
