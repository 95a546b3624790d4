// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs of the reference with errors, row by row beside the exact one.

#include "codegen/check/Sensitivity.h"

#include "dsl/reference/ReferenceRounding.h"
#include "runtime/moec_outputs.h"

#include <algorithm>
#include <cmath>

namespace moec {

// The runs round every value by itself. But a rounded row beside x or another row, both on the grid of one binade, sums
// to the middle between two values of y's type half of the time, and a weight a little below 1 then turns each of them
// towards zero: all rows together are up to half of half a step too small.
static double gainOfTies(const LayerSpec &spec) {
  double step = spec.dtype.activation == DataType::BF16 ? 0x1p-8 : spec.dtype.activation == DataType::F16 ? 0x1p-11 : 0;
  return spec.combine.rowsF32 ? 0 : step / 4;
}

namespace {

// [T,K] the experts of every token that it reaches, ascending; -1 for other choices. The order of choices is ignored.
std::vector<int64_t> reachedExperts(const ReferenceOutputs &outputs, int64_t tokens) {
  std::vector<int64_t> reached = outputs.ids;
  for (size_t i = 0; i < reached.size() && i < outputs.kept.size(); ++i)
    reached[i] = outputs.kept[i] ? reached[i] : -1;
  size_t columns = tokens ? reached.size() / size_t(tokens) : 0;
  for (size_t first = 0; first < reached.size(); first += columns)
    std::sort(reached.begin() + std::ptrdiff_t(first), reached.begin() + std::ptrdiff_t(first + columns));
  return reached;
}

// Whether a token has the same experts and gets through the wrap in both.
std::vector<uint8_t> comparableTokens(const ReferenceOutputs &run, const ReferenceOutputs &want, int64_t tokens) {
  std::vector<uint8_t> same(size_t(tokens), 1);
  auto rows = [&](const auto &a, const auto &b) {
    size_t columns = tokens ? b.size() / size_t(tokens) : 0;
    for (size_t t = 0; t < same.size() && a.size() == b.size(); ++t)
      same[t] &= std::equal(a.begin() + t * columns, a.begin() + (t + 1) * columns, b.begin() + t * columns);
  };
  rows(reachedExperts(run, tokens), reachedExperts(want, tokens));
  rows(run.routed, want.routed);
  return same;
}

// Hidden values behind a row of y: errors of few of them are those of the whole row.
double freedomOf(const LayerSpec &spec) {
  bool linear = spec.experts.form == ExpertForm::Linear;
  return double(linear ? spec.hidden : spec.experts.width(0)) * double(std::max<int64_t>(1, spec.choices()));
}

int64_t runsFor(const LayerSpec &spec, int64_t tokens) {
  bool linear = spec.experts.form == ExpertForm::Linear;
  double width = double(linear ? spec.hidden : spec.experts.width(0));
  // Jitter of the layer rounds x once more: a logit then has an error of many terms, in every run another one.
  bool jitters = spec.takesJitter() && spec.router.input.jitterScope == JitterScope::Layer && spec.logitColumns();
  return disturbedRuns(jitters ? std::min(spec.hidden, spec.logitColumns()) : spec.hidden,
                       double(tokens) * double(spec.hidden) * width * double(std::max<int64_t>(1, spec.choices())));
}

bool isTotal(const moec_output &output) {
  bool total = output.shape == MOEC_SHAPE_N || output.shape == MOEC_SHAPE_ONE;
  return moec_is_report(&output) && output.dtype == MOEC_F32 && total;
}

void widen(const std::vector<double> &run, const std::vector<double> &want, double factor,
           std::vector<double> &change) {
  change.resize(want.size(), 0);
  for (size_t i = 0; i < want.size() && i < run.size(); ++i) {
    double difference = factor * std::fabs(run[i] - want[i]);
    change[i] = std::isfinite(difference) ? std::max(change[i], difference) : change[i];
  }
}

} // namespace

void spreadTaken(const LayerSpec &spec, int64_t numTokens, ReferenceOutputs &outputs) {
  if (spec.router.kind != RouterKind::ExpertChoice)
    return;
  int64_t experts = spec.experts.count;
  outputs.choices = experts;
  outputs.ids.assign(size_t(numTokens * experts), -1);
  outputs.weights.assign(size_t(numTokens * experts), 0);
  for (size_t i = 0; i < outputs.expertTokens.size(); ++i) {
    int64_t token = outputs.expertTokens[i], expert = int64_t(i) / outputs.expertCapacity;
    if (token < 0)
      continue;
    outputs.ids[size_t(token * experts + expert)] = expert;
    outputs.weights[size_t(token * experts + expert)] = outputs.expertWeights[i];
  }
}

Result<Sensitivity> measureSensitivity(const LayerSpec &spec, const ReferenceInputs &inputs,
                                       const ReferenceOutputs &want, bool tf32) {
  int64_t tokens = inputs.numTokens;
  RowSpread logits(want.logits, tokens), weights(want.weights, tokens, weightless), y(want.y, tokens),
      probabilities(want.probabilities, tokens);
  Sensitivity out;
  out.runs = runsFor(spec, tokens);
  out.undecided.assign(size_t(tokens), 1);
  out.moved.assign(size_t(tokens), 0);
  for (const moec_output &output : moec_outputs)
    if (isTotal(output))
      out.totals[output.name].assign(reportValues(want, output.name).size(), 0);
  // one number has no columns that make up for runs in which errors of it cancel
  double ofTotals = 2 * (1 + 2 / std::sqrt(double(out.runs)));
  for (int64_t seed = 0; seed < out.runs; ++seed) {
    ReferenceRounding rounding(uint64_t(seed) + 1, tf32);
    ReferenceInputs moved = inputs;
    moved.rounding = &rounding;
    Result<ReferenceOutputs> ran = runReference(spec, moved);
    if (!ran)
      return ran.takeError();
    ReferenceOutputs &run = *ran;
    spreadTaken(spec, tokens, run);
    std::vector<uint8_t> same = comparableTokens(run, want, tokens);
    logits.add(run.logits, same);
    weights.add(run.weights, same);
    y.add(run.y, same);
    probabilities.add(run.probabilities, same);
    bool allSame = true;
    for (size_t t = 0; t < same.size(); ++t) {
      out.undecided[t] &= !same[t];
      out.moved[t] |= !same[t];
      allSame &= same[t] != 0;
    }
    for (const moec_output &output : moec_outputs)
      if (isTotal(output) && (allSame || output.needs == MOEC_NEEDS_LOGITS)) // others follow from choices
        widen(reportValues(run, output.name), reportValues(want, output.name), ofTotals, out.totals[output.name]);
  }
  out.logits = logits.slack();
  out.weights = weights.slack();
  out.y = y.slack(freedomOf(spec));
  out.y.gain += gainOfTies(spec);
  out.probabilities = probabilities.slack();
  return out;
}

} // namespace moec
