// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results in -> text out.

#include "codegen/check/VerifyReport.h"

#include <cstdio>

namespace moec {

VerifyCounts countsOf(const std::vector<IsaResult> &results, size_t skippedMachines) {
  VerifyCounts counts;
  for (const IsaResult &result : results) {
    counts.cases += result.cases;
    counts.failed += result.failed;
  }
  counts.skipped = skippedMachines * (results.empty() ? 0 : results.front().cases);
  counts.cases += counts.skipped;
  return counts;
}

// Nothing where no gradients were compared.
static std::string gradientTable(const std::vector<IsaResult> &results) {
  std::string text;
  for (const IsaResult &result : results) {
    const GradientResult &gradients = result.gradients;
    if (!gradients.compared.values)
      continue;
    char line[256];
    if (text.empty()) {
      std::snprintf(line, sizeof line, "\n%-15s %13s %10s %5s %12s %9s  %s\n", "isa", "gradient rows", "values", "ties",
                    "worst error", "of limit", "nearest to its limit");
      text = line;
    }
    std::snprintf(line, sizeof line, "%-15s %13zu %10zu %5zu %12.1e %8.0f%%  ", result.name.c_str(),
                  gradients.compared.rows, gradients.compared.values, gradients.undecided, gradients.worst.value,
                  100 * gradients.worst.ofLimit);
    text += line + gradients.worst.place + "\n";
  }
  return text;
}

std::string verifyTable(const std::vector<IsaResult> &results, size_t skippedMachines) {
  char line[256];
  std::snprintf(line, sizeof line, "%-15s %6s %6s %6s %6s %5s %12s %9s  %s\n", "isa", "cases", "pass", "fail", "rows",
                "ties", "worst error", "of limit", "nearest to its limit");
  std::string text = line;
  for (const IsaResult &result : results) {
    std::snprintf(line, sizeof line, "%-15s %6zu %6zu %6zu %6zu %5zu %12.1e %8.0f%%  ", result.name.c_str(),
                  result.cases, result.cases - result.failed, result.failed, result.compared.rows, result.tied,
                  result.worst.value, 100 * result.worst.ofLimit);
    text += line + result.worst.place + "\n";
  }
  text += gradientTable(results);
  if (!results.empty() && results.front().compared.empty)
    text += "calls without tokens, which have nothing to compare: " + std::to_string(results.front().compared.empty) +
            " on each\n";
  VerifyCounts counts = countsOf(results, skippedMachines);
  return text + std::to_string(counts.cases) + " cases, " + std::to_string(counts.passed()) + " passed, " +
         std::to_string(counts.failed) + " failed, " + std::to_string(counts.skipped) + " skipped\n";
}

void writeVerifyMembers(JsonWriter &json, const std::vector<IsaResult> &results, size_t skippedMachines,
                        const std::string &math, const std::string &determinism) {
  VerifyCounts counts = countsOf(results, skippedMachines);
  json.attribute("cases", counts.cases);
  json.attribute("passed", counts.passed());
  json.attribute("failed", counts.failed);
  json.attribute("skipped", counts.skipped);
  json.attribute("math", math);
  json.attribute("determinism", determinism);
  json.attributeArray("isas", [&] {
    for (const IsaResult &result : results)
      json.object([&] {
        json.attribute("isa", result.name);
        json.attribute("cases", result.cases);
        json.attribute("failed", result.failed);
        json.attribute("rows_compared", result.compared.rows);
        json.attribute("values_compared", result.compared.values);
        json.attribute("calls_without_tokens", result.compared.empty);
        json.attribute("ties", result.tied);
        json.attribute("worst_relative_error", result.worst.value);
        json.attribute("worst_share_of_limit", result.worst.ofLimit);
        json.attribute("worst_nmse", result.worst.nmse);
        if (result.gradients.compared.values)
          json.attributeObject("gradients", [&] {
            json.attribute("rows_compared", result.gradients.compared.rows);
            json.attribute("values_compared", result.gradients.compared.values);
            json.attribute("ties", result.gradients.undecided);
            json.attribute("worst_relative_error", result.gradients.worst.value);
            json.attribute("worst_share_of_limit", result.gradients.worst.ofLimit);
          });
        json.attribute("first_failure", escaped(result.firstFailure));
      });
  });
}

} // namespace moec
