// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file of tuning measurements, one JSON object per line -> candidates per cell (what was tuned).
//
// The reader is tolerant, because records outlive the versions that wrote them: of each line it takes "stage",
// "target", "result", "candidate_us", "default_us" and "candidate" (a text, or an object, which is printed), and
// "rows", "tokens" or "class" to tell cells of a stage apart. It skips lines that hold no candidate, and the last line
// if it was cut off while it was written.

#ifndef MOEC_CODEGEN_REPORT_TUNERECORDS_H
#define MOEC_CODEGEN_REPORT_TUNERECORDS_H

#include "dsl/text/Diagnostic.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct TuneCandidate {
  std::string text;    // parameters, as the record has them
  std::string result;  // "better", "slower", "wrong", ...
  double us = NAN;     // NaN: it has no time
  bool failed = false; // no time, or a result that says wrong, failed, error or timeout
};

struct TuneCell {
  std::string name; // "experts_down, cpu:avx512, rows 9..12"
  std::vector<TuneCandidate> candidates;
  double defaultUs = NAN; // median of what the records say
};

struct TuneFile {
  std::string name;
  std::vector<TuneCell> cells; // in the order of the file
  size_t skipped = 0;          // lines without a candidate
};

// True if one of the first lines is a JSON object with "candidate" or "candidate_us", and all before it are objects
// that are not results of moec bench.
bool isTuneFile(const std::string &text);

// `diagnostics` has the file as its source. nullopt: at least one error was added: a line that is not JSON, except the
// last one.
std::optional<TuneFile> readTuneFile(const std::string &text, DiagnosticList &diagnostics);

} // namespace moec

#endif
