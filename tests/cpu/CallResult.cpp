// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bits are compared as bytes, values within the layer's own sensitivity to rounding.

#include "CallResult.h"

#include "codegen/check/RowsToCompare.h"
#include "runtime/weights/float_convert.h"

#include <algorithm>
#include <cmath>

namespace moec {

bool CallResult::sameBits(const CallResult &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])));
  };
  return status == other.status && same(yBytes, other.yBytes) && same(logits, other.logits) &&
         same(weights, other.weights) && same(ids, other.ids) && same(counts, other.counts);
}

bool CallResult::sameRowBits(const CallResult &other, int64_t token) const {
  auto same = [&](const auto &a, const auto &b, size_t rowsOfA, size_t rowsOfB) {
    size_t row = a.size() / rowsOfA;
    return row == b.size() / rowsOfB && !std::memcmp(&a[token * row], &b[token * row], row * sizeof(a[0]));
  };
  size_t mine = logits.size(), theirs = other.logits.size(), columns = std::max<size_t>(counts.size(), 1);
  mine /= columns, theirs /= columns;
  return same(yBytes, other.yBytes, mine, theirs) && same(ids, other.ids, mine, theirs) &&
         same(weights, other.weights, mine, theirs);
}

void CallResult::widenY(DataType output) {
  bool half = output == DataType::BF16;
  y.resize(yBytes.size() / (half ? 2 : 4));
  for (size_t i = 0; i < y.size(); ++i) {
    uint16_t bits;
    float value;
    std::memcpy(&bits, &yBytes[half ? 2 * i : 0], 2);
    std::memcpy(&value, &yBytes[half ? 0 : 4 * i], 4);
    y[i] = half ? moec_f32_of_bf16(bits) : value;
  }
}

std::string disagreement(const LayerSpec &spec, const CallResult &actual, const OracleAnswer &expected) {
  int64_t h = spec.hidden, k = expected.choices, tokens = int64_t(actual.y.size()) / h, clear = 0;
  bool roundedLogits = spec.dtype.activation == DataType::BF16 && spec.router.logitDType == LogitDType::Activation;
  double margin = roundedLogits ? 2e-2 : 1e-5;
  bool choices = !actual.ids.empty() && !expected.ids.empty();
  RowsToCompare y(expected.sensitivity.y), weights(expected.sensitivity.weights);
  // The oracle may have seen more tokens, of which errors along the rows cancel better (RowSpread.h).
  auto perTokens = [&](double n) { return (1 + 12 / (double(expected.sensitivity.runs) * n)) / std::sqrt(n); };
  double fewer = tokens ? perTokens(double(tokens)) / perTokens(double(expected.y.size()) / double(h)) : 1;
  y.options.slack.gain *= fewer;
  weights.options.slack.gain *= fewer;
  for (int64_t t = 0; t < tokens; ++t) {
    if ((!expected.margins.empty() && expected.margins[t] < margin) || expected.sensitivity.undecided[t])
      continue;
    ++clear;
    y.add(t, t, rowOf(actual.y, t, h), rowOf(expected.y, t, h));
    if (!choices)
      continue;
    weights.add(t, t, rowOf(actual.weights, t, k), rowOf(expected.weights, t, k));
    for (int64_t j = t * k; j < (t + 1) * k; ++j) {
      weights.actualIds.push_back(actual.ids[j]);
      weights.expectedIds.push_back(expected.ids[j]);
    }
  }
  if (tokens == 0)
    return "";
  if (2 * clear < tokens)
    return "only " + std::to_string(clear) + " of " + std::to_string(tokens) + " tokens chose clearly";
  if (choices)
    if (Comparison c = compareChoices(weights.actualIds, weights.actual, weights.expectedIds, weights.expected, k,
                                      weights.options);
        !c.pass)
      return "choices: " + c.text;
  Comparison c = compareRows(y.actual, y.expected, h, y.options);
  return c.pass ? "" : "y: " + c.text;
}

} // namespace moec
