// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec compare: two results of bench -> the ratio of their times with its interval; exit 1 for a regression.

#include "BenchInput.h"
#include "Verbs.h"

#include "codegen/bench/BenchCompare.h"
#include "codegen/bench/FigureText.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>
#include <sstream>

namespace moec {

namespace {
struct CompareFlags {
  std::string a, b, failOn;
  bool json = false;
};
} // namespace

// A call is a regression if its interval lies above 1 and its ratio above 1 + `limit`.
static int judge(Session &session, const BenchComparison &comparison, double limit) {
  size_t judged = 0;
  std::string slower;
  for (const RatioRow &row : comparison.rows) {
    if (!row.reason.empty()) {
      warn(session, "W-UNJUDGED", escaped(rowName(row)) + ": " + row.reason + ", so --fail-on does not judge it",
           "measure again with more --rounds, or when the machine is quiet");
      continue;
    }
    ++judged;
    if (row.ratio.significant() && row.ratio.ratio > 1 + limit)
      slower += (slower.empty() ? "" : "; ") + escaped(rowName(row)) + ": " + verdictOf(row) + " (" +
                fixedText(100 * (row.ratio.low - 1), 1) + " to " + fixedText(100 * (row.ratio.high - 1), 1, " %)");
  }
  for (const std::string &name : comparison.onlyA)
    warn(session, "W-UNJUDGED", escaped(name) + ": only the first file has it, so --fail-on does not judge it",
         "measure the same T, threads and routing");
  if (!slower.empty())
    return fail(session, "E-SLOWER", slower + "; --fail-on allows " + fixedText(100 * limit, 1, " %"));
  if (!judged)
    return fail(session, "E-UNJUDGED", "--fail-on found no call that it could judge",
                "both files need accepted rounds of the same T, threads and routing");
  if (!comparison.onlyA.empty())
    return fail(session, "E-UNJUDGED",
                "--fail-on found " + std::to_string(comparison.onlyA.size()) +
                    " of the first file's calls missing in the second",
                "both files need accepted rounds of the same T, threads and routing");
  return ExitDone;
}

static int runCompare(Session &session, const CompareFlags &flags) {
  double limit = 0;
  if (!flags.failOn.empty())
    if (int code = parsePercent(session, "--fail-on", flags.failOn, limit))
      return code;
  BenchFile a, b;
  if (int code = loadBenchFile(session, flags.a, a))
    return code;
  if (int code = loadBenchFile(session, flags.b, b))
    return code;
  BenchComparison comparison = compareBenchFiles(a, b);
  std::ostringstream text;
  writeComparison(text, comparison, flags.json);
  session.out << text.str();
  session.out.flush();
  return flags.failOn.empty() ? int(ExitDone) : judge(session, comparison, limit);
}

Verb addCompare(CLI::App &app) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App *verb = app.add_subcommand("compare", "compare two results of bench, with the interval of each ratio");
  verb->add_option("A", flags->a, "result of moec bench --json or --format jsonl: what was")->required();
  verb->add_option("B", flags->b, "the same: what is")->required();
  verb->add_option("--fail-on", flags->failOn, "exit 1 if a call of B is significantly slower, by more than this")
      ->type_name("PERCENT");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  return {verb, [flags](Session &session) { return runCompare(session, *flags); }};
}

} // namespace moec
