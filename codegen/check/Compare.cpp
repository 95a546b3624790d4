// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// compareRows and compareChoices.

#include "codegen/check/Compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace moec {

namespace {

std::string number(double value) {
  if (std::isnan(value)) // printf gives some a sign
    return "nan";
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

// One pair of values; one row of them.
struct Element {
  double actual, expected;
  int64_t col;
};
using Row = std::vector<Element>;

double slackOf(const std::vector<double> &slack, size_t row) { return row < slack.size() ? slack[row] : 0; }

// Rows go in one by one; their measures, and a verdict with its text, come out.
class Measure {
public:
  Measure(const CompareOptions &options, const char *colName) : options(options), colName(colName) {}

  int64_t nameOf(size_t row) const { return row < options.names.size() ? options.names[row] : int64_t(row); }

  // `row`: finite elements only.
  void add(size_t index, const Row &row) {
    double most = options.scale, squares = 0, errors = 0;
    for (const Element &e : row) {
      most = std::max(most, std::fabs(e.expected));
      squares += e.expected * e.expected;
      errors += (e.actual - e.expected) * (e.actual - e.expected);
      along += (e.actual - e.expected) * e.expected;
    }
    double count = double(std::max<size_t>(row.size(), 1));
    double limit = options.maxRel * most + slackOf(options.slack.most, index);
    for (const Element &e : row) {
      double off = std::fabs(e.actual - e.expected), share = shareOf(off, limit);
      result.maxAbs = std::max(result.maxAbs, off);
      result.maxRel = std::max(result.maxRel, off == 0 ? 0 : off / most);
      if (share > result.ofLimit)
        take(share, index, e.col,
             "is " + number(e.actual) + "; expected " + number(e.expected) + " within " + number(limit));
    }
    double size = std::max(std::sqrt(squares / count), options.scale), off = std::sqrt(errors / count);
    double rowLimit = options.maxRel * size + slackOf(options.slack.rms, index);
    double share = shareOf(off, rowLimit);
    if (options.slack.rms.size() && share > 1 && result.ofLimit <= 1)
      take(share, index, -1,
           "is off by " + number(off) + " (root mean square); its size is " + number(size) + ", allowed " +
               number(rowLimit));
    else if (options.slack.rms.size())
      result.ofLimit = std::max(result.ofLimit, share);
    allSquares += squares;
    allErrors += errors;
    ++result.rows;
    result.values += int64_t(row.size());
  }

  Comparison finish(bool mayBeEmpty) {
    double size = std::max(allSquares, options.scale * options.scale * double(result.values));
    result.nmse = allErrors == 0 ? 0 : allErrors / size;
    if (result.rows == 0)
      return refuse(-1, -1, "no row was compared");
    if (result.values == 0 && !mayBeEmpty)
      return refuse(-1, -1, "no value was compared: the reference has none that is finite");
    double gain = size > 0 ? along / size : 0, limit = options.maxRel + options.slack.gain;
    if (double share = shareOf(std::fabs(gain), limit); share > 1 && result.ofLimit <= 1) {
      result.ofLimit = share;
      failure = "all rows together are " + number(std::fabs(gain)) + " of their size too " +
                (gain > 0 ? "large" : "small") + "; allowed " + number(limit);
    }
    result.pass = result.ofLimit <= 1;
    std::string numbers = "worst error " + number(result.maxRel) + " of its row, " + number(result.ofLimit) +
                          " of the limit, nmse " + number(result.nmse);
    if (result.worstRow >= 0)
      numbers += ", at row " + std::to_string(result.worstRow) +
                 (result.worstCol >= 0 ? std::string(" ") + colName + " " + std::to_string(result.worstCol) : "");
    result.text = result.pass ? "ok " + numbers : "FAIL " + failure + " (" + numbers + ")";
    return result;
  }

private:
  static double shareOf(double off, double limit) {
    return off == 0 ? 0 : off / limit;
  } // infinite where none is allowed

  void take(double share, size_t index, int64_t col, std::string why) {
    result.ofLimit = share;
    result.worstRow = nameOf(index);
    result.worstCol = col;
    failure = (col >= 0 ? place(colName, result.worstRow, col) : "row " + std::to_string(result.worstRow)) + " " + why;
  }

  const CompareOptions &options;
  const char *colName;
  Comparison result;
  std::string failure;
  double along = 0, allSquares = 0, allErrors = 0;
};

} // namespace

Comparison compareRows(const std::vector<double> &actual, const std::vector<double> &expected, int64_t cols,
                       const CompareOptions &options) {
  if (actual.size() != expected.size() || cols < 1 || expected.size() % cols != 0)
    return refuse(-1, -1,
                  std::to_string(actual.size()) + " elements; expected " + std::to_string(expected.size()) +
                      " in rows of " + std::to_string(cols));
  Measure measure(options, "column");
  for (size_t row = 0; row < expected.size() / size_t(cols); ++row) {
    Row finite;
    for (int64_t col = 0; col < cols; ++col) {
      size_t i = row * size_t(cols) + size_t(col);
      int64_t name = measure.nameOf(row);
      if (auto why = refusal(actual[i], expected[i], options))
        return refuse(name, col, place("column", name, col) + " " + *why);
      if (std::isfinite(expected[i]))
        finite.push_back({actual[i], expected[i], col});
    }
    measure.add(row, finite);
  }
  return measure.finish(options.mayBeUndefined);
}

namespace {

using TokenChoices = std::vector<std::pair<int64_t, double>>; // ids and their weights, by id

bool isSameId(const std::pair<int64_t, double> &a, const std::pair<int64_t, double> &b) { return a.first == b.first; }

TokenChoices choicesOf(const std::vector<int64_t> &ids, const std::vector<double> &weights, int64_t token,
                       int64_t choices) {
  TokenChoices out;
  for (int64_t i = token * choices; i < (token + 1) * choices; ++i)
    if (ids[i] != -1 && !(std::fabs(weights[i]) < weightless))
      out.push_back({ids[i], weights[i]});
  std::stable_sort(out.begin(), out.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
  return out;
}

// As tables and replaced ids may have it.
bool hasOneTwice(const TokenChoices &choices) {
  return std::adjacent_find(choices.begin(), choices.end(), isSameId) != choices.end();
}

std::string idsText(const TokenChoices &choices) {
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
  Measure measure(options, "expert");
  for (int64_t t = 0; t < int64_t(size) / choices; ++t) {
    Row row;
    int64_t name = measure.nameOf(size_t(t));
    std::string token = "token " + std::to_string(name);
    TokenChoices expected = choicesOf(expectedIds, expectedWeights, t, choices);
    TokenChoices actual = choicesOf(actualIds, actualWeights, t, choices);
    if (hasOneTwice(actual) && !hasOneTwice(expected))
      return refuse(name, -1, token + " has one expert twice");
    if (!std::equal(actual.begin(), actual.end(), expected.begin(), expected.end(), isSameId))
      return refuse(name, -1, token + " has experts " + idsText(actual) + "; expected " + idsText(expected));
    for (size_t i = 0; i < expected.size(); ++i) {
      auto [id, weight] = expected[i];
      double found = actual[i].second;
      if (auto why = refusal(found, weight, options))
        return refuse(name, id, "the weight at " + place("expert", name, id) + " " + *why);
      if (std::isfinite(weight))
        row.push_back({found, weight, id});
    }
    measure.add(size_t(t), row);
  }
  return measure.finish(true);
}

} // namespace moec
