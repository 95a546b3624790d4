// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bits are compared as bytes, values with the tolerance of the storage types.

#include "CallResult.h"

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

double toleranceOf(const LayerSpec &spec) {
  bool half = spec.dtype.activation == DataType::BF16 || spec.dtype.weight == DataType::BF16;
  return half ? 1e-2 : 2e-5;
}

std::string disagreement(const LayerSpec &spec, const CallResult &actual, const ReferenceOutputs &expected) {
  int64_t h = spec.hidden, k = expected.choices, tokens = int64_t(actual.y.size()) / h, clear = 0;
  CompareOptions options;
  options.maxRel = toleranceOf(spec);
  bool roundedLogits = spec.dtype.activation == DataType::BF16 && spec.router.logitDType == LogitDType::Activation;
  double margin = roundedLogits ? 2e-2 : 1e-5;
  std::vector<double> y, wantedY, weights, wantedWeights;
  std::vector<int64_t> ids, wantedIds;
  for (int64_t t = 0; t < tokens; ++t) {
    if (!expected.margins.empty() && expected.margins[t] < margin)
      continue;
    ++clear;
    y.insert(y.end(), &actual.y[t * h], &actual.y[t * h] + h);
    wantedY.insert(wantedY.end(), &expected.y[t * h], &expected.y[t * h] + h);
    for (int64_t j = t * k; j < (t + 1) * k && !actual.ids.empty(); ++j) {
      ids.push_back(actual.ids[j]), weights.push_back(actual.weights[j]);
      wantedIds.push_back(expected.ids[j]), wantedWeights.push_back(expected.weights[j]);
    }
  }
  if (tokens == 0)
    return "";
  if (2 * clear < tokens)
    return "only " + std::to_string(clear) + " of " + std::to_string(tokens) + " tokens chose clearly";
  if (Comparison c = compareChoices(ids, weights, wantedIds, wantedWeights, k, options); !c.pass)
    return "choices: " + c.text;
  for (double v : wantedY) // one constant for all layers: relative to the largest value of the call, not of the row
    options.scale = std::max(options.scale, std::isfinite(v) ? std::fabs(v) : 0);
  if (Comparison c = compareRows(y, wantedY, h, options); !c.pass)
    return "y: " + c.text;
  return "";
}

} // namespace moec
