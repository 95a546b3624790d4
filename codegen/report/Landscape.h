// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tuning records -> the candidates of each row range, for a chart.

#ifndef MOEC_CODEGEN_REPORT_LANDSCAPE_H
#define MOEC_CODEGEN_REPORT_LANDSCAPE_H

#include "codegen/tune/TuneStore.h"

#include <cmath>
#include <string>
#include <vector>

namespace moec {

struct LandscapeCandidate {
  std::string text;    // what it changes of the default: "block_m 12 -> 6"
  std::string result;  // "ok", or "wrong: ..." with what the record says of it
  double us = NAN;     // NaN: it was not timed
  bool failed = false; // wrong, failed or timeout
};

struct LandscapeCell {
  std::string name; // "tiny experts_down, cpu:avx512, rows 9..12"
  std::vector<LandscapeCandidate> candidates;
  double defaultUs = NAN; // median of what the records say
};

struct Landscape {
  std::string name;
  std::vector<LandscapeCell> cells; // in the order of the file; a cell is a stage, target, machine and range
  size_t skippedLines = 0;          // that are not records
};

// Of the measurements; a candidate that was measured again is there once, as the last record has it.
Landscape landscapeOf(const TuneFile &file);

} // namespace moec

#endif
