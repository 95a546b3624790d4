// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kinds in which experts take tokens instead of tokens experts: expert_choice and soft -> y [T,H].

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>

namespace moec {

namespace {

// Tokens each expert takes of a scope of T: select.tokens, or round(capacity_factor · T / E); 1..T.
int64_t tokensTaken(const LayerSpec &spec, int64_t tokens) {
  const RouterSelect &select = spec.router.select;
  double count =
      select.tokens ? double(*select.tokens) : std::floor(*select.capacityFactor * tokens / spec.experts.count + 0.5);
  return int64_t(std::clamp(count, std::min(1.0, double(tokens)), double(tokens)));
}

// The tokens expert e takes of [first, last) and their weights, in descending choice value.
void takeTokens(const RouterSpec &router, const Routing &routing, int64_t expert, std::pair<int64_t, int64_t> scope,
                int64_t count, std::vector<Assignment> &taken) {
  Doubles column, weights;
  for (int64_t t = scope.first; t < scope.second; ++t)
    column.push_back(routing.choice[t * routing.rows + expert]);
  std::vector<int64_t> order = topIndices(column.data(), column.size(), count);
  for (int64_t t : order)
    weights.push_back(routing.scores[(scope.first + t) * routing.rows + expert]);
  if (router.scoreOver == ScoreOver::Selected)
    scoreInPlace(router.score, weights.data(), weights.size());
  if (router.normalize.over == NormalizeOver::Expert)
    normalizeInPlace(router.normalize, weights.data(), weights.size());
  for (size_t i = 0; i < order.size(); ++i)
    taken.push_back({scope.first + order[i], expert, weights[i], expert});
}

// normalize over token: across the experts that took the token.
void normalizeByToken(const RouterNormalize &normalize, int64_t numTokens, std::vector<Assignment> &taken) {
  std::vector<std::vector<size_t>> byToken(numTokens);
  for (size_t i = 0; i < taken.size(); ++i)
    byToken[taken[i].token].push_back(i);
  for (const std::vector<size_t> &own : byToken) {
    Doubles weights;
    for (size_t i : own)
      weights.push_back(taken[i].weight);
    normalizeInPlace(normalize, weights.data(), weights.size());
    for (size_t j = 0; j < own.size(); ++j)
      taken[own[j]].weight = weights[j];
  }
}

void recordTaken(const std::vector<Assignment> &taken, const ReferenceRun &run, ReferenceOutputs &outputs) {
  int64_t experts = run.spec.experts.count;
  std::vector<int64_t> used(experts, 0);
  for (const Assignment &a : taken)
    outputs.expertCapacity = std::max(outputs.expertCapacity, ++used[a.expert]);
  outputs.expertTokens.assign(experts * outputs.expertCapacity, -1);
  outputs.expertWeights.assign(experts * outputs.expertCapacity, 0);
  outputs.counts = used;
  std::fill(used.begin(), used.end(), 0);
  for (const Assignment &a : taken) {
    int64_t at = a.expert * outputs.expertCapacity + used[a.expert]++;
    outputs.expertTokens[at] = run.tokens[a.token];
    outputs.expertWeights[at] = a.weight;
  }
}

} // namespace

// What experts took, as choices of the tokens: column e of a token is expert e.
static Routing asChoices(Routing routing, const std::vector<Assignment> &taken) {
  routing.choices = routing.rows;
  routing.ids.assign(size_t(routing.numTokens * routing.rows), -1);
  routing.weights.assign(routing.ids.size(), 0);
  routing.kept.assign(routing.ids.size(), 0);
  for (const Assignment &a : taken) {
    size_t at = size_t(a.token * routing.rows + a.expert);
    routing.ids[at] = a.expert;
    routing.weights[at] = a.weight;
    routing.kept[at] = 1;
  }
  routing.wanted = routing.ids;
  return routing;
}

// S = score(z); expert e takes the C tokens with the largest S[:,e]; y_t = Σ_{e took t} S[t,e] · expert_e(x_t)
bool runExpertChoice(ReferenceRun &run, ReferenceOutputs &outputs) {
  const LayerSpec &spec = run.spec;
  Routing routing;
  routing.numTokens = run.numTokens;
  routing.rows = spec.experts.count;
  if (!transformedLogits(run, spec.router, "router.weight", routing.rows, routing.logits) || !addNoise(run, routing) ||
      !computeScores(run, routing))
    return false;
  std::vector<Assignment> taken;
  for (int64_t e = 0; e < routing.rows; ++e)
    for (auto scope : run.scopes(spec.router.select.scope == SelectScope::Sequence))
      takeTokens(spec.router, routing, e, scope, tokensTaken(spec, scope.second - scope.first), taken);
  if (spec.router.normalize.over == NormalizeOver::Token)
    normalizeByToken(spec.router.normalize, run.numTokens, taken);
  Doubles scale(routing.rows, 1.0);
  if (spec.router.expertScale && !run.vector("router.expert_scale", 0, routing.rows, scale))
    return false;
  Doubles all(1, 1.0);
  if (spec.router.globalScale && !run.vector("router.global_scale", 0, 1, all))
    return false;
  std::vector<bool> reached(run.numTokens);
  for (Assignment &a : taken) {
    a.weight *= spec.router.scale * all[0] * scale[a.expert];
    a.weight = finalWeight(run, a.weight);
    reached[a.token] = true;
  }
  recordTaken(taken, run, outputs);
  outputs.logits = routing.logits;
  OutputSums sums;
  run.outputSums = &sums;
  bool ran = runExperts(run, taken, outputs.y);
  run.outputSums = nullptr;
  if (!ran || !reportRun(run, asChoices(routing, taken), sums, outputs))
    return false;
  for (int64_t t = 0; t < run.numTokens && spec.router.unselected == Unselected::Identity; ++t)
    for (int64_t i = t * spec.hidden; i < (t + 1) * spec.hidden && !reached[t]; ++i)
      outputs.y[i] = run.x[i];
  return finishOutput(run, outputs.y);
}

namespace {

// out[n,m] = Aᵀ·B for A [T,n], B [T,m], over tokens [first, last).
Doubles transposedProduct(const Doubles &a, int64_t n, const double *b, int64_t m, int64_t tokens) {
  Doubles out(n * m, 0.0);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < m; ++j)
        out[i * m + j] += a[t * n + i] * b[t * m + j];
  return out;
}

} // namespace

// One scope of T tokens and P slots per expert:
//   L = x·Φᵀ [T, E·P]   D = softmax of L over tokens   C = softmax of L over slots
//   slot_s = Σ_t D[t,s]·x_t   o_s = expert_{s/P}(slot_s)   y_t = scale · Σ_s C[t,s]·o_s   (D for combine_weights
//   dispatch)
bool runSoft(ReferenceRun &run, ReferenceOutputs &outputs) {
  const LayerSpec &spec = run.spec;
  int64_t hidden = spec.hidden, slots = spec.experts.count * spec.router.slots, each = spec.router.slots;
  Routing routing;
  routing.numTokens = run.numTokens;
  routing.rows = slots;
  if (!transformedLogits(run, spec.router, "router.slots", slots, routing.logits) || !addNoise(run, routing))
    return false;
  outputs.logits = routing.logits;
  outputs.y.assign(run.numTokens * hidden, 0);
  for (auto [first, last] : run.scopes(spec.router.scope == SelectScope::Sequence)) {
    int64_t tokens = last - first;
    Doubles dispatch(routing.noisy.begin() + first * slots, routing.noisy.begin() + last * slots), combine = dispatch;
    for (int64_t s = 0; s < slots; ++s) {
      Doubles column(tokens);
      for (int64_t t = 0; t < tokens; ++t)
        column[t] = dispatch[t * slots + s];
      softmaxInPlace(column.data(), tokens);
      for (int64_t t = 0; t < tokens; ++t)
        dispatch[t * slots + s] = column[t];
    }
    for (int64_t t = 0; t < tokens; ++t)
      softmaxInPlace(&combine[t * slots], slots);
    run.operations(dispatch, 8);
    run.operations(combine, 8);
    if (spec.router.combineWeights == CombineWeights::Dispatch)
      combine = dispatch;
    // The slots are the tokens of the experts' run.
    ReferenceRun inner = run;
    inner.numTokens = slots;
    inner.slotScope = spec.router.scope == SelectScope::Sequence ? run.sequence[size_t(first)] : 0;
    inner.x = transposedProduct(dispatch, slots, &run.x[first * hidden], hidden, tokens);
    if (run.inputs.rounding) { // of a sum over tokens, by what was added
      Doubles sizes(run.x.begin() + first * hidden, run.x.begin() + last * hidden);
      for (double &v : sizes)
        v = std::fabs(v);
      sizes = transposedProduct(dispatch, slots, sizes.data(), hidden, tokens);
      for (size_t i = 0; i < sizes.size(); ++i)
        inner.x[i] = run.operation(inner.x[i], sizes[i]);
    }
    run.round(inner.x, spec.dtype.activation);
    std::vector<Assignment> own;
    for (int64_t s = 0; s < slots; ++s)
      own.push_back({s, s / each, 1.0, 0});
    Doubles slotOut;
    if (!runExperts(inner, own, slotOut))
      return false;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t s = 0; s < slots; ++s)
        for (int64_t c = 0; c < hidden; ++c)
          addTerm(run, outputs.y[(first + t) * hidden + c],
                  spec.router.scale * combine[t * slots + s] * slotOut[s * hidden + c]);
  }
  if (!reportRun(run, routing, OutputSums(), outputs))
    return false;
  return finishOutput(run, outputs.y);
}

} // namespace moec
