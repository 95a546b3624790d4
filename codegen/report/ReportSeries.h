// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of results -> series: the results of one run over T, under a name that tells them apart.

#ifndef MOEC_CODEGEN_REPORT_REPORTSERIES_H
#define MOEC_CODEGEN_REPORT_REPORTSERIES_H

#include "codegen/bench/BenchFile.h"

#include <string>
#include <vector>

namespace moec {

// Results of one file with the same layer, instruction set, threads, routing and weights.
struct ReportSeries {
  std::string label; // "tiny, 2 threads": what differs between the series
  std::string file;
  std::vector<const BenchResult *> results; // by T, one each: the one with most accepted rounds; never empty

  const BenchContext &context() const { return results.front()->context; }
  BenchPass pass() const { return results.front()->pass; } // of all results
};

// The series point into `files`, which must outlive them.
std::vector<ReportSeries> seriesOf(const std::vector<BenchFile> &files);

// "s3": the class that gives series or step `index` its colour; there are eight.
std::string colourClass(size_t index);

// A list that names the colours; `shapes`: with the marks of series.
std::string legendHtml(const std::vector<std::string> &names, bool shapes);

// The labels of all series.
std::vector<std::string> labelsOf(const std::vector<ReportSeries> &series);

} // namespace moec

#endif
