// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Paths and percentages in -> results and fractions out.

#include "BenchInput.h"

namespace moec {

int loadBenchFile(Session &session, const std::string &path, BenchFile &out) {
  std::string text;
  if (int code = readTextFile(session, path, "result", benchFileBytes, text))
    return code;
  DiagnosticList diagnostics;
  diagnostics.setSource(path, text);
  std::optional<BenchFile> file = readBenchFile(text, diagnostics);
  if (!file) {
    session.err << render(diagnostics, session.color);
    return exitCodeOf(diagnostics.all());
  }
  out = std::move(*file);
  return ExitDone;
}

int parsePercent(Session &session, const char *flag, const std::string &text, double &out) {
  std::string number = text.substr(0, text.find_last_not_of(" %") + 1);
  std::optional<double> value = doubleOf(number);
  bool valid = value && *value >= 0 && *value <= 1000 && number.find_first_not_of("0123456789.") == std::string::npos;
  if (!valid)
    return fail(session, "E-USAGE",
                std::string(flag) + " is " + quoteText(text) + "; expected a percentage from 0 to 1000",
                std::string(flag) + " 3%");
  out = *value / 100;
  return ExitDone;
}

} // namespace moec
