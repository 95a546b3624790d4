// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// compareRows and compareChoices.

#include "codegen/check/Compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace moec {

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

Comparison refuse(int64_t row, int64_t col, std::string text) {
  Comparison result;
  result.worstRow = row;
  result.worstCol = col;
  result.text = "FAIL " + std::move(text);
  return result;
}

std::string place(const char *colName, int64_t row, int64_t col) {
  return "row " + std::to_string(row) + " " + colName + " " + std::to_string(col);
}

bool sameKind(double a, double b) { return std::isnan(b) ? std::isnan(a) : a == b; }

// nullopt: the element may be measured, or matches an expected NaN or infinity.
std::optional<std::string> refusal(double actual, double expected, const CompareOptions &options) {
  if (!std::isfinite(expected) && !sameKind(actual, expected))
    return "is " + number(actual) + "; expected " + number(expected);
  if (!std::isfinite(actual) && std::isfinite(expected))
    return "is " + number(actual) + "; expected " + number(expected);
  if (options.poison && actual == *options.poison && expected != actual)
    return "still holds the poison " + number(actual) + "; expected " + number(expected);
  return std::nullopt;
}

// Verdict and text from the measures.
void judge(Comparison &result, const CompareOptions &options, const char *colName) {
  double nmse = options.nmse.value_or(options.maxRel * options.maxRel);
  result.pass = result.maxRel <= options.maxRel && result.nmse <= nmse;
  result.text = std::string(result.pass ? "ok" : "FAIL") + " max relative error " + number(result.maxRel) + " (limit " +
                number(options.maxRel) + "), nmse " + number(result.nmse) + " (limit " + number(nmse) + ")";
  if (result.worstRow >= 0)
    result.text += ", worst at " + place(colName, result.worstRow, result.worstCol);
}

struct Sums {
  double error = 0, square = 0, most = 0;

  void add(double actual, double expected, int64_t row, int64_t col, Comparison &result) {
    double difference = std::fabs(actual - expected);
    error += difference * difference;
    square += expected * expected;
    most = std::max(most, std::fabs(expected));
    if (difference > result.maxAbs) {
      result.maxAbs = difference;
      result.worstRow = row;
      result.worstCol = col;
    }
  }
  void finish(Comparison &result, double scale, double count) const {
    bool exact = result.maxAbs == 0;
    result.maxRel = exact ? 0 : result.maxAbs / std::max(most, scale); // infinite where all of `expected` is zero
    result.nmse = exact ? 0 : error / std::max(square, count * scale * scale);
  }
};

} // namespace

Comparison compareRows(const std::vector<double> &actual, const std::vector<double> &expected, int64_t cols,
                       const CompareOptions &options) {
  if (actual.size() != expected.size() || cols < 1 || expected.size() % cols != 0)
    return refuse(-1, -1,
                  std::to_string(actual.size()) + " elements; expected " + std::to_string(expected.size()) +
                      " in rows of " + std::to_string(cols));
  Comparison result;
  Sums sums;
  for (size_t i = 0; i < expected.size(); ++i) {
    int64_t row = int64_t(i) / cols, col = int64_t(i) % cols;
    if (auto why = refusal(actual[i], expected[i], options))
      return refuse(row, col, place("column", row, col) + " " + *why);
    if (std::isfinite(expected[i]))
      sums.add(actual[i], expected[i], row, col, result);
  }
  sums.finish(result, options.scale, double(expected.size()));
  judge(result, options, "column");
  return result;
}

namespace {

// f32 cannot hold much smaller values: such a weight may be 0 on one side and not on the other.
constexpr double weightless = 1e-30;

// id -> weight of one token. False: an id stands twice.
bool choicesOf(const std::vector<int64_t> &ids, const std::vector<double> &weights, int64_t token, int64_t choices,
               std::map<int64_t, double> &out) {
  for (int64_t i = token * choices; i < (token + 1) * choices; ++i)
    if (ids[i] != -1 && !(std::fabs(weights[i]) < weightless) && !out.emplace(ids[i], weights[i]).second)
      return false;
  return true;
}

std::string idsText(const std::map<int64_t, double> &choices) {
  std::string text = "{";
  for (const auto &[id, weight] : choices)
    text += (text.size() > 1 ? ", " : "") + std::to_string(id);
  return text + "}";
}

} // namespace

Comparison compareChoices(const std::vector<int64_t> &actualIds, const std::vector<double> &actualWeights,
                          const std::vector<int64_t> &expectedIds, const std::vector<double> &expectedWeights,
                          int64_t choices, const CompareOptions &options) {
  size_t size = expectedIds.size();
  if (choices < 1 || size % choices != 0 || actualIds.size() != size || actualWeights.size() != size ||
      expectedWeights.size() != size)
    return refuse(-1, -1,
                  std::to_string(actualIds.size()) + " ids and " + std::to_string(actualWeights.size()) +
                      " weights; expected " + std::to_string(size) + " in rows of " + std::to_string(choices));
  Comparison result;
  Sums sums;
  for (int64_t t = 0; t < int64_t(size) / choices; ++t) {
    std::map<int64_t, double> actual, expected;
    choicesOf(expectedIds, expectedWeights, t, choices, expected);
    if (!choicesOf(actualIds, actualWeights, t, choices, actual))
      return refuse(t, -1, "token " + std::to_string(t) + " has one expert twice");
    bool same =
        actual.size() == expected.size() && std::equal(actual.begin(), actual.end(), expected.begin(),
                                                       [](const auto &a, const auto &b) { return a.first == b.first; });
    if (!same)
      return refuse(
          t, -1, "token " + std::to_string(t) + " has experts " + idsText(actual) + "; expected " + idsText(expected));
    for (const auto &[id, weight] : expected) {
      if (auto why = refusal(actual[id], weight, options))
        return refuse(t, id, "the weight at " + place("expert", t, id) + " " + *why);
      if (std::isfinite(weight))
        sums.add(actual[id], weight, t, id, result);
    }
  }
  sums.finish(result, options.scale, double(expectedIds.size()));
  judge(result, options, "expert");
  return result;
}

} // namespace moec
