// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec report: results of bench, and records of tuning -> one HTML file.

#include "BenchInput.h"
#include "TextOutput.h"
#include "TuneDb.h"
#include "Verbs.h"

#include "codegen/report/ReportPage.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>
#include <vector>

namespace moec {

namespace {
struct ReportFlags {
  std::vector<std::string> inputs;
  std::string output = "report.html";
  bool force = false;
};
} // namespace

// Also of a file whose records are all broken or of another version.
static bool namesRecords(llvm::StringRef text) { return text.ltrim().split('\n').first.contains("\"moec.tune/"); }

static int loadInput(Session &session, const std::string &path, ReportInputs &inputs) {
  std::string text;
  size_t limit = llvm::StringRef(path).ends_with(".jsonl") ? maxTuneFileBytes : benchFileBytes;
  if (int code = readTextFile(session, path, "result", limit, text))
    return code;
  DiagnosticList diagnostics;
  diagnostics.setSource(path, text);
  if (TuneFile records = readTuneText(text, path); !records.records.empty() || namesRecords(text)) {
    warnOfLines(session, records.complaints, records.skippedLines);
    if (records.records.empty())
      return fail(session, "E-RESULT", quoteText(path) + " holds no record of tuning that this version reads");
    inputs.tuning.push_back(landscapeOf(records));
    return ExitDone;
  }
  if (std::optional<BenchFile> results = readBenchFile(text, diagnostics)) {
    inputs.results.push_back(std::move(*results));
    return ExitDone;
  }
  session.err << render(diagnostics, session.color);
  return exitCodeOf(diagnostics.all());
}

static int runReport(Session &session, const ReportFlags &flags) {
  ReportInputs inputs;
  for (const std::string &path : flags.inputs)
    if (int code = loadInput(session, path, inputs))
      return code;
  std::string page = reportPage(inputs);
  if (int code = writeTextFile(session, flags.output, page, flags.force))
    return code;
  if (!session.quiet)
    session.err << "wrote " << escaped(flags.output) << ", " << page.size() / 1024 + 1 << " KiB\n";
  return ExitDone;
}

Verb addReport(CLI::App &app) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App *verb = app.add_subcommand("report", "draw results of bench as one HTML file");
  verb->add_option("RESULT", flags->inputs, "results of moec bench --json or --format jsonl, and records of tuning")
      ->required();
  verb->add_option("-o,--output", flags->output, "the HTML file")->capture_default_str();
  verb->add_flag("--force", flags->force, "replace the file if it exists");
  return {verb, [flags](Session &session) { return runReport(session, *flags); }};
}

} // namespace moec
