// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results in -> groups and their names out.

#include "ReportSeries.h"

#include "Svg.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

namespace moec {

static std::string keyOf(const std::string &file, const BenchResult &result) {
  const BenchContext &context = result.context;
  std::string key = file + '\n' + passName(result.pass);
  for (const std::string &part : {context.name, context.isa, std::to_string(context.threads), context.skew,
                                  std::string(context.cold ? "cold" : "warm"), context.weightType})
    key += '\n' + part;
  return key;
}

static void addResult(ReportSeries &series, const BenchResult &result) {
  auto same = std::find_if(series.results.begin(), series.results.end(),
                           [&](const BenchResult *other) { return other->tokens == result.tokens; });
  if (same == series.results.end())
    series.results.push_back(&result);
  else if (result.accepted > (*same)->accepted)
    *same = &result;
}

static std::string fileName(const std::string &path) { return path.substr(path.rfind('/') + 1); }

// Adds a part to every label, if it is not the same everywhere.
static void addPart(std::vector<ReportSeries> &series, const std::function<std::string(const ReportSeries &)> &part) {
  std::set<std::string> values;
  for (const ReportSeries &one : series)
    values.insert(part(one));
  if (values.size() < 2)
    return;
  for (ReportSeries &one : series)
    if (std::string text = part(one); !text.empty())
      one.label += (one.label.empty() ? "" : ", ") + text;
}

static bool areDistinct(const std::vector<ReportSeries> &series) {
  std::set<std::string> labels;
  for (const ReportSeries &one : series)
    labels.insert(one.label);
  return labels.size() == series.size();
}

static void nameSeries(std::vector<ReportSeries> &series) {
  addPart(series, [](const ReportSeries &one) { return one.context().name; });
  addPart(series, [](const ReportSeries &one) { return std::string(passText(one.pass())); });
  addPart(series, [](const ReportSeries &one) { return one.context().weightType; });
  addPart(series, [](const ReportSeries &one) { return one.context().isa; });
  addPart(series, [](const ReportSeries &one) {
    return std::to_string(one.context().threads) + (one.context().threads == 1 ? " thread" : " threads");
  });
  addPart(series, [](const ReportSeries &one) { return one.context().skew; });
  addPart(series, [](const ReportSeries &one) { return std::string(one.context().cold ? "cold" : "warm"); });
  if (!areDistinct(series))
    addPart(series, [](const ReportSeries &one) { return fileName(one.file); });
  if (!areDistinct(series))
    addPart(series, [](const ReportSeries &one) { return one.file; });
  for (ReportSeries &one : series)
    if (one.label.empty())
      one.label = one.context().name;
}

std::vector<ReportSeries> seriesOf(const std::vector<BenchFile> &files) {
  std::vector<ReportSeries> series;
  for (size_t i = 0; i < files.size(); ++i) {
    std::map<std::string, size_t> places;
    for (const BenchResult &result : files[i].results) {
      auto [place, added] = places.emplace(keyOf(files[i].name, result), series.size());
      if (added)
        series.push_back({"", files[i].name, {}});
      addResult(series[place->second], result);
    }
  }
  for (ReportSeries &one : series)
    std::sort(one.results.begin(), one.results.end(),
              [](const BenchResult *a, const BenchResult *b) { return a->tokens < b->tokens; });
  nameSeries(series);
  return series;
}

std::string colourClass(size_t index) { return "s" + std::to_string(index % 8); }

std::string legendHtml(const std::vector<std::string> &names, bool shapes) {
  std::string html = "<ul class=\"legend\">\n";
  for (size_t i = 0; i < names.size(); ++i) {
    Svg swatch("swatch", names[i], 14, 14);
    if (shapes)
      swatch.mark("mark " + colourClass(i), int(i), {7, 7}, "");
    else
      swatch.rect("segment " + colourClass(i), {1, 1}, 12, 12);
    html += "<li>" + swatch.finish() + "<span>" + htmlText(names[i]) + "</span></li>\n";
  }
  return html + "</ul>\n";
}

std::vector<std::string> labelsOf(const std::vector<ReportSeries> &series) {
  std::vector<std::string> labels;
  for (const ReportSeries &one : series)
    labels.push_back(one.label);
  return labels;
}

} // namespace moec
