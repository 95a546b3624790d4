// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series in -> the table of their figures, and a card per run that says what they depend on.

#include "Axes.h"
#include "Sections.h"
#include "Svg.h"

#include "codegen/bench/FigureText.h"

#include <set>

namespace moec {

static std::string cell(const std::string &text, const char *tag = "td") {
  return std::string("<") + tag + ">" + htmlText(text) + "</" + tag + ">";
}

static std::string resultRow(const ReportSeries &one, const BenchResult &result) {
  std::string range = result.usLow > 0 ? timeText(result.usLow) + " .. " + timeText(result.usHigh) : "-";
  std::string share = result.share > 0 ? fixedText(100 * result.share, 1, " %") : "-";
  if (!result.reason.empty())
    share += " (" + result.reason + ")";
  return "<tr>" + cell(one.label, "th") + cell(std::to_string(result.tokens)) + cell(timeText(result.usMedian)) +
         cell(range) + cell(fixedText(result.gflops, 1)) + cell(fixedText(result.gbps, 2)) + cell(share) +
         cell(std::to_string(result.accepted) + " of " + std::to_string(result.rounds)) + "</tr>\n";
}

Section resultsSection(const std::vector<ReportSeries> &series) {
  Section section{"results", "Figures", "", "", "no input is a result of moec bench"};
  if (series.empty())
    return section;
  section.body = "<div class=\"wide\"><table>\n<thead><tr>";
  for (const char *head : {"run", "T", "time", "fastest .. slowest", "GFLOP/s", "GB/s", "share of bound", "rounds"})
    section.body += cell(head, "th");
  section.body += "</tr></thead>\n<tbody>\n";
  for (const ReportSeries &one : series)
    for (const BenchResult *result : one.results)
      section.body += resultRow(one, *result);
  section.body += "</tbody></table></div>\n";
  return section;
}

static std::string fact(const char *name, const std::string &value) {
  return value.empty() ? "" : "<dt>" + htmlText(name) + "</dt><dd>" + htmlText(value) + "</dd>\n";
}

static std::string hash(const char *name, const std::string &value) {
  return value.empty() ? "" : "<dt>" + htmlText(name) + "</dt><dd class=\"hash\">" + htmlText(value) + "</dd>\n";
}

static std::string card(const ReportSeries &one) {
  const BenchContext &context = one.context();
  const BenchResult &first = *one.results.front();
  const MachineFacts &machine = context.machine;
  std::string flags, cpu = machine.brand.empty() ? machine.vendor : machine.brand;
  for (const std::string &flag : machine.flags)
    flags += (flags.empty() ? "" : " ") + flag;
  if (machine.family)
    cpu += " (" + machine.vendor + ", family " + std::to_string(machine.family) + ", model " +
           std::to_string(machine.model) + ", stepping " + std::to_string(machine.stepping) + ")";
  std::string ceilings;
  if (first.peakGflops > 0)
    ceilings = fixedText(first.peakGflops, 1, " GFLOP/s ") + first.peak;
  if (first.readGbps > 0)
    ceilings += (ceilings.empty() ? "" : ", ") + fixedText(first.readGbps, 2, " GB/s read");
  for (const auto &[name, gflops] : first.units)
    ceilings += ", " + fixedText(gflops, 1, " GFLOP/s ") + name;
  std::string types = context.inputType.empty() ? ""
                                                : context.inputType + " inputs, " + context.weightType + " weights, " +
                                                      context.outputType + " outputs";
  std::string weights = context.cold ? "cold: read from memory" : "warm: may be in cache";
  if (context.distinctExperts)
    weights += "; " + std::to_string(context.distinctExperts) + " experts have storage of their own";
  return "<section class=\"card\"><h3>" + htmlText(one.label) + "</h3>\n<dl>\n" + fact("layer", context.name) +
         fact("CPU", cpu) + fact("logical CPUs", machine.logicalCpus ? std::to_string(machine.logicalCpus) : "") +
         fact("instruction set", context.isa) + fact("flags", flags) +
         fact("threads", std::to_string(context.threads)) + fact("ceilings", ceilings) + fact("routing", context.skew) +
         fact("weights", weights) + fact("types", types) +
         fact("calls", one.pass() == BenchPass::Forward ? "" : passText(one.pass())) +
         fact("moec", context.moecVersion) + hash("spec", context.specHash) + hash("package", context.packageHash) +
         fact("date", context.date) + fact("file", one.file) + "</dl></section>\n";
}

Section resourceSection(const std::vector<ReportSeries> &series) {
  Section section{"resources", "What the figures depend on", "", "", "no input is a result of moec bench"};
  if (series.empty())
    return section;
  section.body = "<div class=\"cards\">\n";
  for (const ReportSeries &one : series)
    section.body += card(one);
  section.body += "</div>\n";
  return section;
}

} // namespace moec
