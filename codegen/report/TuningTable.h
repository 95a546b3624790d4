// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tuning records -> HTML: the distance of the default from what was chosen, cell by cell; the best so far over time;
// the reasons of what failed. Empty if there is nothing to show.

#ifndef MOEC_CODEGEN_REPORT_TUNINGTABLE_H
#define MOEC_CODEGEN_REPORT_TUNINGTABLE_H

#include "Landscape.h"

#include <string>
#include <vector>

namespace moec {

// A row per cell; above it the geometric mean, the share of the cells within 1.25, and what no record reaches.
std::string distanceTable(const std::vector<Landscape> &files);

// Of one file: a line of the fastest candidate so far and one of what was chosen so far.
std::string courseChart(const Landscape &file);

// Reasons, each with the candidates that it stopped.
std::string failureList(const LandscapeCell &cell);

} // namespace moec

#endif
