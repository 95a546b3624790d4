// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of the table of outputs whose needs are not LOSSES, and LayerSpec::reports -> which a layer has.

#include "dsl/Reports.h"

#include "runtime/moec_outputs.h"

#include <algorithm>

namespace moec {

namespace {

// Rows that a spec may ask for.
const std::vector<moec_output> &reportTable() {
  static const std::vector<moec_output> table = [] {
    std::vector<moec_output> rows;
    for (const moec_output &output : moec_outputs)
      if (moec_is_report(&output) && output.needs != MOEC_NEEDS_LOSSES)
        rows.push_back(output);
    return rows;
  }();
  return table;
}

bool isPossible(const LayerSpec &spec, int needs) {
  bool soft = spec.router.kind == RouterKind::Soft;
  return needs == MOEC_NEEDS_EXPERT   ? spec.hasExpertLogits()
         : needs == MOEC_NEEDS_LOGITS ? soft || spec.hasRouterWeight()
         : needs == MOEC_NEEDS_LOSSES ? !spec.losses.empty()
                                      : !soft;
}

} // namespace

const std::vector<std::string_view> &reportNames() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> list;
    for (const moec_output &report : reportTable())
      list.push_back(report.name);
    return list;
  }();
  return names;
}

unsigned allReports() { return (1u << reportTable().size()) - 1; }

unsigned possibleReports(const LayerSpec &spec) {
  unsigned bits = 0;
  for (size_t i = 0; i < reportTable().size(); ++i)
    bits |= unsigned(isPossible(spec, reportTable()[i].needs)) << i;
  return bits;
}

bool hasReport(const LayerSpec &spec, std::string_view name) {
  for (const moec_output &output : moec_outputs)
    if (output.name == name && output.needs == MOEC_NEEDS_LOSSES)
      return isPossible(spec, output.needs);
  const auto &names = reportNames();
  auto found = std::find(names.begin(), names.end(), name);
  return found != names.end() && (spec.reports & possibleReports(spec)) >> (found - names.begin()) & 1;
}

void normalizeReports(LayerSpec &spec) {
  unsigned possible = possibleReports(spec);
  if ((spec.reports & possible) == possible)
    spec.reports = allReports();
}

std::string_view whyNoReport(unsigned bit) {
  switch (reportTable()[bit].needs) {
  case MOEC_NEEDS_EXPERT:
    return "its router has no logit for each expert";
  case MOEC_NEEDS_LOGITS:
    return "its router has no logits";
  default:
    return "its tokens do not choose experts";
  }
}

} // namespace moec
