// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file that `moec bench --format json` or jsonl wrote -> its results, each with what it depends on.
//
// A jsonl file may hold lines of several runs. Members that this version does not know are skipped.

#ifndef MOEC_CODEGEN_BENCH_BENCHFILE_H
#define MOEC_CODEGEN_BENCH_BENCHFILE_H

#include "BenchContext.h"
#include "BenchPass.h"

#include "dsl/text/Diagnostic.h"
#include "dsl/text/JsonTree.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moec {

struct StepResult {
  std::string name;
  double us = NAN, share = NAN; // share: of all steps of a call
};

// Figures are NaN where bench withheld them; `reason` then says why.
struct BenchResult {
  BenchContext context;
  double peakGflops = NAN, readGbps = NAN;           // ceilings
  std::string peak;                                  // what does peakGflops: "AVX-512 f32 FMA"
  std::vector<std::pair<std::string, double>> units; // further probed units and their GFLOP/s
  int64_t tokens = 0;
  BenchPass pass = BenchPass::Forward; // of results without one, which older versions wrote, too
  double usMedian = NAN, usLow = NAN, usHigh = NAN, gflops = NAN, gbps = NAN, boundUs = NAN, share = NAN;
  std::string reason;
  int64_t rounds = 0, accepted = 0;
  std::vector<double> roundUs; // positive
  std::vector<StepResult> steps;
};

struct BenchFile {
  std::string name; // as the user named it
  std::vector<BenchResult> results;
};

// Limits of a file, of either form.
constexpr size_t benchFileBytes = size_t(16) << 20;

// `diagnostics` has the file as its source. nullopt: at least one error was added (E-JSON, E-DUP, E-LIMIT, or E-RESULT
// where a result of moec bench was expected).
std::optional<BenchFile> readBenchFile(const std::string &text, DiagnosticList &diagnostics);

// True if `text` has one JSON object per line; false: it is one document.
bool isJsonLines(const std::string &text);

// One line of such a text as a tree; errors are added to `diagnostics` at line `number`.
std::optional<JsonTree> readJsonLine(std::string_view line, size_t number, DiagnosticList &diagnostics);

} // namespace moec

#endif
