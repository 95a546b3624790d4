// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows in -> text out.

#include "RatioTable.h"

#include "FigureText.h"

namespace moec {

static std::string skewText(const RatioRow &row) { return row.skew + (row.cold ? "" : ", warm"); }

std::string rowName(const RatioRow &row) {
  return (row.layer.empty() ? "" : row.layer + ", ") + "T=" + std::to_string(row.tokens) + ", " +
         std::to_string(row.threads) + (row.threads == 1 ? " thread, " : " threads, ") + skewText(row) +
         (row.pass == BenchPass::Forward ? "" : std::string(", ") + passText(row.pass));
}

std::string verdictOf(const RatioRow &row) {
  if (!row.reason.empty())
    return row.reason;
  if (!row.ratio.significant())
    return "no difference";
  double change = 100 * (row.ratio.ratio - 1);
  return change > 0 ? fixedText(change, 1, " % slower") : fixedText(-change, 1, " % faster");
}

void writeRatioTable(std::ostream &os, const std::vector<RatioRow> &rows) {
  bool layers = false, passes = false;
  for (const RatioRow &row : rows) {
    layers |= !row.layer.empty();
    passes |= row.pass != BenchPass::Forward;
  }
  os << (layers ? "| layer " : "") << (passes ? "| T | pass " : "| T ")
     << "| threads | routing | a, us | b, us | b / a | 95 % interval | b is | rounds of a, b |\n"
     << (layers ? "|---" : "") << (passes ? "|---:|---" : "|---:") << "|---:|---|---:|---:|---:|---:|---|---:|\n";
  for (const RatioRow &row : rows) {
    if (layers)
      os << "| " << row.layer << " ";
    os << "| " << row.tokens << (passes ? std::string(" | ") + passText(row.pass) : "") << " | " << row.threads << " | "
       << skewText(row) << " | " << fixedText(row.usA, 1) << " | " << fixedText(row.usB, 1) << " | "
       << fixedText(row.ratio.ratio, 4) << " | ";
    if (row.ratio.known())
      os << fixedText(row.ratio.low, 4) << " .. ";
    os << fixedText(row.ratio.high, 4) << " | " << verdictOf(row) << " | " << row.roundsA << ", " << row.roundsB
       << " |\n";
  }
}

void writeRatioMembers(JsonWriter &os, const RatioRow &row) {
  if (!row.layer.empty())
    os.attribute("name", row.layer);
  os.attribute("tokens", row.tokens);
  os.attribute("pass", passName(row.pass));
  os.attribute("threads", row.threads);
  os.attribute("skew", row.skew);
  os.attribute("weights", row.cold ? "cold" : "warm");
  writeNumber(os, "us_a", row.usA);
  writeNumber(os, "us_b", row.usB);
  writeNumber(os, "ratio", row.ratio.ratio);
  writeNumber(os, "ratio_low", row.ratio.low);
  writeNumber(os, "ratio_high", row.ratio.high);
  os.attribute("significant", row.ratio.significant());
  os.attribute("rounds_a", int64_t(row.roundsA));
  os.attribute("rounds_b", int64_t(row.roundsB));
  if (!row.reason.empty())
    os.attribute("reason", row.reason);
}

} // namespace moec
