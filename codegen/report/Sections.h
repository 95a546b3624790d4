// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Series and tuning records -> the parts of a report. A part without data has no body and says in one line why.

#ifndef MOEC_CODEGEN_REPORT_SECTIONS_H
#define MOEC_CODEGEN_REPORT_SECTIONS_H

#include "Landscape.h"
#include "ReportSeries.h"

#include <string>
#include <vector>

namespace moec {

struct Section {
  std::string id, title; // id: of the element, and the class of its charts: "latency"
  std::string body;      // HTML; empty: there is no data for it
  std::string note;      // one sentence on how to read it
  std::string missing;   // why body is empty
};

Section latencySection(const std::vector<ReportSeries> &series);  // time against T, with low..high and the bound
Section stagesSection(const std::vector<ReportSeries> &series);   // share of every step, a bar per T
Section rooflineSection(const std::vector<ReportSeries> &series); // GFLOP/s against FLOP per byte below the ceilings
Section skewSection(const std::vector<ReportSeries> &series);     // time against uniform routing, per T and routing
Section tuningSection(const std::vector<Landscape> &files);       // candidates of every cell in order of time
Section resultsSection(const std::vector<ReportSeries> &series);  // the figures as a table
Section resourceSection(const std::vector<ReportSeries> &series); // what the figures depend on

} // namespace moec

#endif
