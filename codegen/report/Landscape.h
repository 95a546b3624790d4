// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tuning records -> the candidates of each row range, for a chart.

#ifndef MOEC_CODEGEN_REPORT_LANDSCAPE_H
#define MOEC_CODEGEN_REPORT_LANDSCAPE_H

#include "codegen/tune/TuneStore.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct LandscapeCandidate {
  std::string text;    // what it changes of the default: "block_m 12 -> 6"
  std::string result;  // "ok", or "wrong: ..." with what the record says of it
  double us = NAN;     // NaN: it was not timed
  bool failed = false; // wrong, failed or timeout
};

// What was decided for a cell after its candidates were measured.
struct LandscapeChoice {
  std::string text;                           // what the chosen kernel changes of the default; empty: the default stays
  double gain = 0, gainLow = 0, gainHigh = 0; // of the chosen one; of the best rival if the default stays
  bool unfinished = false;                    // the budget ended before the search
};

struct LandscapeCell {
  std::string name; // "tiny experts_down, cpu:avx512, rows 9..12"
  std::vector<LandscapeCandidate> candidates;
  double defaultUs = NAN; // median of what the records say
  std::string stage = {}; // name without the range
  double share = 0;       // of the stage's work in the calls that were tuned for; 0: unknown
  std::optional<LandscapeChoice> choice = {};

  // Time of the default over that of what was chosen; NaN: nothing was.
  double distance() const { return !choice ? NAN : choice->text.empty() ? 1 : 1 + choice->gain; }
};

// How far a search had come: geometric means over all cells of the file, a cell that was not reached yet counts as 1.
struct LandscapeStep {
  double seconds = 0; // of searching since the first record; a pause of more than a minute counts as none
  size_t measured = 0;
  double best = 1;   // time of the fastest candidate so far over its default's
  double proven = 1; // time of what was chosen so far over its default's
  std::string event; // what was chosen with this record; empty: a measurement
};

struct Landscape {
  std::string name;
  std::vector<LandscapeCell> cells;       // in the order of the file; a cell is a stage, target, machine and range
  size_t skippedLines = 0;                // that are not records
  std::vector<LandscapeStep> course = {}; // whenever one of the means changed, and at the end
};

// Of the measurements and choices; what was measured or chosen again is there once, as the last record has it.
Landscape landscapeOf(const TuneFile &file);

} // namespace moec

#endif
