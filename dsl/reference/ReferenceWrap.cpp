// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The wrap around the experts (layer.wrap) -> which tokens run them, and y of those that do not.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moec {

namespace {

// r_t = ⟨x_t, w⟩ (+ b) for one row of parameters.
bool oneRow(ReferenceRun &run, const std::string &name, bool bias, Doubles &out) {
  MatrixView weight;
  Doubles b(1, 0.0);
  if (!run.matrix(name + ".weight", 0, 1, run.spec.hidden, weight) || (bias && !run.vector(name + ".bias", 0, 1, b)))
    return false;
  out = run.product(run.x, weight, false);
  for (double &v : out)
    v += b[0];
  return true;
}

// depth: the C largest r of each scope go in, C = tokens or floor(capacity·S), at least 1.
void chooseDeep(const ReferenceRun &run, const Doubles &r, std::vector<uint8_t> &routed, Doubles &margins) {
  const WrapSpec &layer = run.spec.layer;
  for (auto [first, last] : run.scopes(layer.scope == SelectScope::Sequence)) {
    int64_t length = last - first;
    int64_t count = layer.tokens ? *layer.tokens : std::max<int64_t>(1, int64_t(*layer.capacity * length));
    std::vector<int64_t> order = topIndices(&r[first], length, length);
    count = std::min(count, length);
    double high = 1e-300;
    for (int64_t i = 0; i < length; ++i)
      high = std::max(high, std::fabs(r[first + i]));
    for (int64_t i = 0; i < length; ++i) {
      bool in = i < count;
      routed[first + order[i]] = in;
      bool both = count > 0 && count < length; // otherwise no token is on the other side
      int64_t other = in ? count : count - 1;
      margins[first + order[i]] = both ? std::fabs(r[first + order[i]] - r[first + order[other]]) / high : HUGE_VAL;
    }
  }
}

ReferenceRun subset(const ReferenceRun &run, const std::vector<uint8_t> &chosen) {
  ReferenceRun inner(run.spec, run.inputs, run.error);
  for (int64_t t = 0; t < run.numTokens; ++t)
    if (chosen[t]) {
      inner.tokens.push_back(run.tokens[t]);
      inner.sequence.push_back(run.sequence[t]);
      inner.x.insert(inner.x.end(), run.x.begin() + t * run.spec.hidden, run.x.begin() + (t + 1) * run.spec.hidden);
    }
  inner.numTokens = inner.tokens.size();
  return inner;
}

// Rows of the tokens that ran, back among all T; `fill` where a token did not run.
template <typename T>
void spread(std::vector<T> &values, const std::vector<uint8_t> &routed, int64_t numRouted, T fill) {
  if (values.empty() || numRouted == 0)
    return;
  int64_t width = values.size() / numRouted, from = 0;
  std::vector<T> all(routed.size() * width, fill);
  for (size_t t = 0; t < routed.size(); ++t)
    if (routed[t])
      std::copy_n(values.begin() + width * from++, width, all.begin() + t * width);
  values = std::move(all);
}

} // namespace

// depth        y = [x +] r·f(x) for the chosen tokens, [x] for others      [ ] with residual
// skip         y = x where σ(x·w + b) > threshold, [x +] f(x) elsewhere
// conditional  y = [x +] f(x) where σ(x·v + b) > threshold, [x +] dense(x) elsewhere
bool runWrapped(ReferenceRun &run, ReferenceOutputs &outputs) {
  const WrapSpec &layer = run.spec.layer;
  int64_t hidden = run.spec.hidden;
  bool depth = layer.wrap == LayerWrap::Depth, skip = layer.wrap == LayerWrap::Skip;
  Doubles r;
  if (!oneRow(run, depth ? "depth" : skip ? "skip" : "selector", !depth, r))
    return false;
  std::vector<uint8_t> routed(run.numTokens, 0);
  Doubles margins(run.numTokens, 0);
  if (depth)
    chooseDeep(run, r, routed, margins);
  for (int64_t t = 0; t < run.numTokens && !depth; ++t) {
    routed[t] = (sigmoid(r[t]) > layer.threshold) != skip;
    margins[t] = std::fabs(sigmoid(r[t]) - layer.threshold);
  }
  ReferenceRun inner = subset(run, routed);
  if (!runBody(inner, outputs))
    return false;
  spread(outputs.y, routed, inner.numTokens, 0.0);
  spread(outputs.logits, routed, inner.numTokens, std::numeric_limits<double>::quiet_NaN());
  spread<int64_t>(outputs.ids, routed, inner.numTokens, -1);
  spread(outputs.weights, routed, inner.numTokens, 0.0);
  spread<uint8_t>(outputs.kept, routed, inner.numTokens, 0);
  spread(outputs.probabilities, routed, inner.numTokens, std::numeric_limits<double>::quiet_NaN());
  spread(outputs.margins, routed, inner.numTokens, std::numeric_limits<double>::infinity());
  outputs.y.resize(run.numTokens * hidden, 0.0);
  outputs.ids.resize(run.numTokens * outputs.choices, -1);
  outputs.weights.resize(run.numTokens * outputs.choices, 0.0);
  outputs.kept.resize(run.numTokens * outputs.choices, 0);
  Doubles dense;
  if (layer.wrap == LayerWrap::Conditional && !runDense(run, run.x, dense))
    return false;
  for (size_t i = 0; i < outputs.y.size(); ++i) {
    bool in = routed[i / hidden];
    double factor = depth && in ? r[i / hidden] : 1;
    double own = in ? factor * outputs.y[i] : skip ? run.x[i] : dense.empty() ? 0 : dense[i];
    outputs.y[i] = own;
    if (layer.residual && (in || !skip))
      outputs.y[i] = run.operation(own + run.x[i], std::fabs(own) + std::fabs(run.x[i]));
  }
  outputs.routed = std::move(routed);
  outputs.wrapMargins = std::move(margins);
  return true;
}

} // namespace moec
