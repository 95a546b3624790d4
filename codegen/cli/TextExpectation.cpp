// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results by role, their spread over erring runs, and rows compared within it.

#include "TextExpectation.h"

#include "codegen/check/RowsToCompare.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace moec {

static constexpr double clearChoice = 1e-5; // f32 and float64 decide alike on larger relative differences

static bool hasRows(const moec_output &output) {
  return output.shape == MOEC_SHAPE_TN || output.shape == MOEC_SHAPE_TK;
}

// Numbers of the whole call that rounding may move.
static bool isRealTotal(const moec_output &output) { return !hasRows(output) && output.dtype == MOEC_F32; }

std::map<std::string, TextExpectation::Doubles> TextExpectation::byRole(const interpret::CallResults &results) const {
  std::map<std::string, Doubles> values;
  func::FuncOp layer = text.layer();
  for (unsigned i = 0; i < layer.getNumResults(); ++i)
    values[layer.getResultAttrOfType<StringAttr>(i, "moe.role").getValue().str()] = results.results[i].tensor->data;
  return values;
}

const TextExpectation::Doubles &TextExpectation::of(const std::string &role) const {
  static const Doubles none;
  auto found = want.find(role);
  return found == want.end() ? none : found->second;
}

bool TextExpectation::make(bool tf32, Interpret interpret, std::string &reason) {
  interpret::CallResults exact;
  if (!interpret(nullptr, exact, reason))
    return false;
  want = byRole(exact);
  if (!of("ids").empty()) // a call that has no ids has no counts either
    counts.assign(exact.counts.begin(), exact.counts.end());
  int64_t numTokens = int64_t(tokens.size());
  double closest = *std::min_element(exact.margins.begin(), exact.margins.end());
  for (double margin : exact.margins)
    doubtful.push_back((text.looksAtAllTokens ? closest : margin) < clearChoice);
  std::map<std::string, RowSpread> spreads;
  spreads.emplace("y", RowSpread(of("y"), numTokens));
  for (const moec_output &output : moec_outputs)
    if (hasRows(output) && output.dtype == MOEC_F32)
      spreads.emplace(output.name, RowSpread(of(output.name), numTokens));
  int64_t runs = disturbedRuns(text.hidden, text.flopsPerToken / 2 * double(numTokens));
  for (int64_t seed = 1; seed <= runs; ++seed) {
    ReferenceRounding errors(uint64_t(seed), tf32);
    interpret::CallResults erring;
    if (!interpret(&errors, erring, reason))
      return false;
    std::map<std::string, Doubles> values = byRole(erring);
    std::vector<uint8_t> same;
    for (size_t i = 0; i < tokens.size(); ++i) {
      same.push_back(erring.choices[i] == exact.choices[i]);
      doubtful[i] |= !same[i];
    }
    for (auto &[role, spread] : spreads)
      spread.add(values[role], same);
    if (std::find(same.begin(), same.end(), 0) != same.end())
      continue;
    for (const moec_output &output : moec_outputs) {
      if (!isRealTotal(output))
        continue;
      const Doubles &exactly = of(output.name), &moved = values[output.name];
      Doubles &change = changes[output.name];
      change.resize(exactly.size());
      for (size_t i = 0; i < change.size(); ++i)
        if (double difference = 2 * std::fabs(moved[i] - exactly[i]); std::isfinite(difference))
          change[i] = std::max(change[i], difference);
    }
  }
  for (auto &[role, spread] : spreads)
    slack[role] = spread.slack(role == "y" ? text.freedom : HUGE_VAL);
  return true;
}

// Compares all outputs of these rows; `rows` are indices into `tokens`.
bool TextExpectation::compareRowsOf(const std::vector<int64_t> &rows, const CallOutputs &out, OracleResult &result,
                                    std::string &reason) const {
  auto compare = [&](const moec_output &output, const auto &got) {
    const Doubles &expected = of(output.name);
    int64_t columns = columnsOf(expected);
    if (output.shape != MOEC_SHAPE_TN || !columns || got.empty())
      return true;
    RowsToCompare compared(slackOf(output.name));
    for (int64_t row : rows) {
      auto own = rowOf(got, tokens[size_t(row)], columns);
      compared.add(row, tokens[size_t(row)], Doubles(own.begin(), own.end()), rowOf(expected, row, columns));
    }
    return result.worst.take(compareRows(compared.actual, compared.expected, columns, compared.options), output.name,
                             reason);
  };
  if (!eachOutput(out, compare))
    return false;
  if (int64_t choices = columnsOf(of("ids")); choices && !out.ids.empty()) {
    bool weighted = !of("weights").empty() && !out.weights.empty();
    RowsToCompare compared(slackOf("weights"));
    Doubles ones(size_t(choices), 1.0);
    for (int64_t row : rows) {
      int64_t token = tokens[size_t(row)];
      if (weighted)
        compared.add(row, token, rowOf(out.weights, token, choices), rowOf(of("weights"), row, choices));
      else
        compared.addExact(token, ones, ones);
      std::vector<int64_t> got = rowOf(out.ids, token, choices);
      Doubles ids = rowOf(of("ids"), row, choices);
      compared.actualIds.insert(compared.actualIds.end(), got.begin(), got.end());
      compared.expectedIds.insert(compared.expectedIds.end(), ids.begin(), ids.end());
    }
    if (!result.worst.take(compareChoices(compared.actualIds, compared.actual, compared.expectedIds, compared.expected,
                                          choices, compared.options),
                           "ids and weights", reason))
      return false;
  }
  RowsToCompare y(slackOf("y"));
  for (int64_t row : rows)
    y.add(row, tokens[size_t(row)], out.yRow(tokens[size_t(row)]), rowOf(of("y"), row, text.hidden));
  Comparison ofY = compareRows(y.actual, y.expected, text.hidden, y.options);
  result.compared.rows += size_t(ofY.rows);
  result.compared.values += size_t(ofY.values);
  return result.worst.take(ofY, "y", reason);
}

// Counts exactly; sums over tokens and experts within what f32 sums may come to beside the change of erring runs.
bool TextExpectation::compareTotals(const CallOutputs &out, std::string &reason) const {
  return eachOutput(out, [&](const moec_output &output, const auto &got) {
    if (hasRows(output))
      return true;
    const Doubles &expected = output.role == MOEC_ROLE_COUNTS ? counts : of(output.name);
    auto change = changes.find(output.name);
    for (size_t i = 0; i < got.size() && i < expected.size(); ++i) {
      double limit = 0, difference = std::fabs(double(got[i]) - expected[i]);
      if (isRealTotal(output))
        limit = limitOfTotal(expected[i], change == changes.end() ? 0 : change->second[i]);
      if (!std::isfinite(expected[i]) || difference <= limit)
        continue;
      reason = std::string(output.name) + "[" + std::to_string(i) + "]: got " + std::to_string(got[i]) + ", expected " +
               (isRealTotal(output) ? std::to_string(expected[i]) : std::to_string(int64_t(expected[i])));
      return false;
    }
    return true;
  });
}

// With unordered sums a package has no diversity.
bool TextExpectation::hasAll(const CallOutputs &out, std::string &reason) const {
  return eachOutput(out, [&](const moec_output &output, const auto &got) {
    const Doubles &expected = output.role == MOEC_ROLE_COUNTS ? counts : of(output.name);
    bool wanted = out.asked == ~0u && !expected.empty() && output.role != MOEC_ROLE_DIVERSITY;
    if (wanted && got.empty())
      reason = "the package lacks " + std::string(output.name) + ", which the layer returns";
    return !wanted || !got.empty();
  });
}

bool TextExpectation::compare(const CallOutputs &out, OracleResult &result, std::string &reason) const {
  if (!hasAll(out, reason))
    return false;
  std::vector<int64_t> clear;
  bool tied = false;
  for (int64_t row = 0; row < int64_t(tokens.size()); ++row) {
    if (!doubtful[size_t(row)]) {
      clear.push_back(row);
      continue;
    }
    OracleResult own = result;
    std::string difference;
    if (compareRowsOf({row}, out, own, difference)) {
      result = own;
    } else {
      ++result.tied;
      tied = true;
    }
  }
  if (!clear.empty() && !compareRowsOf(clear, out, result, reason))
    return false;
  return tied || int64_t(tokens.size()) != out.tokens || compareTotals(out, reason);
}

} // namespace moec
