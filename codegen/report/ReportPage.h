// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results of bench and records of tuning -> one HTML page that needs nothing else: no script, no file, no network.
//
// Equal inputs give equal bytes. Marks have classes that tests and other programs can count:
//
//   svg.chart.latency    band, line, mark, bound         svg.chart.skew      cell
//   svg.chart.stages     segment                         svg.chart.tuning    candidate, failed, default
//   svg.chart.roofline   roof, unit, mark                svg.chart.course    line, bound, mark
//   svg.chart.swatch     signs of legends
//
// table.distance has a row per cell of tuning, ul.failures the reasons of a cell, p.not-reached what a budget left out.

#ifndef MOEC_CODEGEN_REPORT_REPORTPAGE_H
#define MOEC_CODEGEN_REPORT_REPORTPAGE_H

#include "Landscape.h"

#include "codegen/bench/BenchFile.h"

#include <string>
#include <vector>

namespace moec {

struct ReportInputs {
  std::vector<BenchFile> results;
  std::vector<Landscape> tuning;
};

std::string reportPage(const ReportInputs &inputs);

} // namespace moec

#endif
