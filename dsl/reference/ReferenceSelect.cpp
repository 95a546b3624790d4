// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Choice values c and scores s [T,R] -> ids and final weights [T,K]: stages 6 to 10 of the oracle.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace moec {

std::vector<int64_t> topIndices(const double *v, int64_t n, int64_t k) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [v](int64_t a, int64_t b) {
    bool noNumberA = std::isnan(v[a]), noNumberB = std::isnan(v[b]);
    if (noNumberA != noNumberB)
      return noNumberB;
    return noNumberA || v[a] == v[b] ? a < b : v[a] > v[b];
  });
  order.resize(std::min(n, k));
  return order;
}

namespace {

constexpr double negInf = -std::numeric_limits<double>::infinity();

// How clearly the k best of v win: (k-th - next) / max|v|; infinite where nothing is left out, 0 where NaN stands.
double marginOf(const double *v, int64_t n, int64_t k) {
  std::vector<int64_t> order = topIndices(v, n, k + 1);
  if (int64_t(order.size()) <= k)
    return -negInf;
  double high = 0;
  for (int64_t i = 0; i < n; ++i)
    high = std::max(high, std::isfinite(v[i]) ? std::fabs(v[i]) : 0);
  double gap = v[order[k - 1]] - v[order[k]];
  return gap > 0 ? gap / high : 0;
}

// R choice values cut into `count` equal runs; all but the `keep` best runs become 0 or -infinity. Returns the margin.
double maskGroups(const RouterGroups &groups, double *choice, int64_t rows) {
  int64_t size = rows / groups.count;
  Doubles score(groups.count);
  for (int64_t g = 0; g < groups.count; ++g) {
    const double *run = choice + g * size;
    int64_t counted = groups.score == GroupScore::Max ? 1 : groups.score == GroupScore::Top2Sum ? 2 : size;
    for (int64_t e : topIndices(run, size, counted))
      score[g] += run[e];
  }
  std::vector<bool> kept(groups.count);
  for (int64_t g : topIndices(score.data(), groups.count, groups.keep))
    kept[g] = true;
  for (int64_t e = 0; e < groups.count * size; ++e)
    if (!kept[e / size])
      choice[e] = groups.masked == GroupMasked::Zero ? 0 : negInf;
  return marginOf(score.data(), groups.count, groups.keep);
}

// i = argmax z over what is left; w = its score.
int64_t sparseMixerPick(const double *z, int64_t rows, int64_t removed, double eps, double &weight) {
  Doubles p;
  int64_t best = sparseMixerScores(z, rows, removed, eps, p);
  weight = p[size_t(best)];
  return best;
}

// The shortest prefix of the ranking whose scores sum to >= p: its length.
int64_t topPCount(const std::vector<int64_t> &order, const double *scores, double p) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t e : order) {
    ++count;
    sum += scores[e];
    if (sum >= p)
      break;
  }
  return count;
}

int64_t aboveCount(const std::vector<int64_t> &order, const double *choice, double threshold) {
  int64_t count = 0;
  while (count < int64_t(order.size()) && choice[order[count]] > threshold)
    ++count;
  return std::max<int64_t>(count, 1);
}

// Whether experts that a mask leaves out are no candidates.
bool leavesOutBefore(const RouterSpec &router, const Routing &routing) {
  return !routing.expertMask.empty() && router.expertDropout.at == DropExpertsAt::Before;
}

// GShard's second by Gumbel-perturbed logits; the first is out of the race.
bool gumbelSecond(ReferenceRun &run, Routing &routing) {
  Doubles draws;
  if (!run.extra("noise", routing.rows, "router.select.second", draws))
    return false;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    double *row = &draws[t * routing.rows];
    for (int64_t e = 0; e < routing.rows; ++e) {
      bool leftOut = leavesOutBefore(run.spec.router, routing) && routing.expertMask[t * routing.rows + e] == 0;
      row[e] = leftOut ? std::numeric_limits<double>::quiet_NaN() : row[e] + routing.noisy[t * routing.rows + e];
    }
    row[routing.ids[2 * t]] = std::numeric_limits<double>::quiet_NaN();
    int64_t second = topIndices(row, routing.rows, 1)[0];
    routing.ids[2 * t + 1] = second == routing.ids[2 * t] ? routing.ids[2 * t + 1] : second;
  }
  return true;
}

// random_2p: the second goes out only where 2·w2 > u. threshold: only where w2 > threshold. w2 = w2 normalised.
bool dispatchSecond(ReferenceRun &run, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  const RouterSelect &select = router.select;
  bool random = select.second == SecondPolicy::Random2P;
  if (!random && select.second != SecondPolicy::Threshold)
    return true;
  Doubles draws;
  if (random && !run.extra("uniform", 1, "router.select.second", draws))
    return false;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    double pair[2] = {routing.weights[2 * t], routing.weights[2 * t + 1]};
    normalizeInPlace(router.normalize, pair, 2);
    routing.kept[2 * t + 1] = random ? 2 * pair[1] > draws[t] : pair[1] > select.threshold;
  }
  return true;
}

} // namespace

int64_t sparseMixerScores(const double *z, int64_t rows, int64_t removed, double eps, Doubles &p) {
  p.assign(z, z + rows);
  if (removed >= 0)
    p[removed] = negInf;
  int64_t best = topIndices(p.data(), rows, 1)[0];
  if (best == removed)
    best = removed == 0 && rows > 1 ? 1 : 0; // every other value is NaN or -infinity
  double high = z[best];
  for (int64_t j = 0; j < rows; ++j)
    if ((high - z[j]) / std::max(std::fabs(z[j]), high) > 2 * eps)
      p[j] = negInf;
  softmaxInPlace(p.data(), rows);
  return best;
}

double chooseRow(const RouterSpec &router, const double *scores, double *choice, int64_t rows, int64_t k, int64_t *ids,
                 const double *mask) {
  const RouterSelect &select = router.select;
  std::fill(ids, ids + k, -1);
  double margin = -negInf;
  bool each = router.groups && router.groups->choose == GroupChoose::Each;
  if (router.groups && !each)
    margin = maskGroups(*router.groups, choice, rows);
  for (int64_t e = 0; e < rows && mask; ++e)
    if (mask[e] == 0)
      choice[e] = negInf;
  if (each) {
    int64_t groups = router.groups->count, size = rows / groups, own = k / groups;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t e : topIndices(choice + g * size, size, own))
        *ids++ = g * size + e;
      margin = std::min(margin, marginOf(choice + g * size, size, own));
    }
    return margin;
  }
  std::vector<int64_t> order = topIndices(choice, rows, k);
  if (select.kind == SelectKind::TopP)
    order.resize(topPCount(order, scores, select.p));
  if (select.kind == SelectKind::Threshold)
    order.resize(aboveCount(order, choice, select.threshold));
  std::copy(order.begin(), order.end(), ids);
  return std::min(margin, marginOf(choice, rows, int64_t(order.size())));
}

// Fills ids and kept; with sparsemixer weights as well.
bool selectExperts(ReferenceRun &run, const RouterSpec &router, int64_t choices, Routing &routing) {
  const RouterSelect &select = router.select;
  int64_t rows = routing.rows;
  routing.choices = choices;
  routing.ids.assign(routing.numTokens * choices, -1);
  routing.weights.assign(routing.numTokens * choices, 0);
  routing.margins.assign(routing.numTokens, -negInf);
  if (select.kind == SelectKind::SparseMixer && run.inputs.training && run.spec.inputs.expertIds)
    return selectSampled(run, routing);
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    int64_t *ids = &routing.ids[t * choices];
    if (select.kind == SelectKind::SparseMixer) {
      const double *z = &routing.noisy[t * rows];
      double *weights = &routing.weights[t * choices];
      ids[0] = sparseMixerPick(z, rows, -1, select.eps, weights[0]);
      ids[1] = sparseMixerPick(z, rows, ids[0], select.eps, weights[1]);
      continue;
    }
    const double *mask = leavesOutBefore(router, routing) ? &routing.expertMask[t * rows] : nullptr;
    routing.margins[t] =
        chooseRow(router, &routing.scores[t * rows], &routing.choice[t * rows], rows, choices, ids, mask);
  }
  routing.kept.resize(routing.ids.size());
  for (size_t i = 0; i < routing.ids.size(); ++i)
    routing.kept[i] = routing.ids[i] >= 0;
  if (select.kind != SelectKind::SecondPolicy || select.second != SecondPolicy::Gumbel)
    return true;
  return gumbelSecond(run, routing);
}

// w_j = s[id_j], or f over the chosen logits only; weight_mode one: 1, mean: 1/(choices of the token).
void gatherWeights(const RouterSpec &router, Routing &routing) {
  if (router.select.kind == SelectKind::SparseMixer)
    return;
  int64_t choices = routing.choices, shared = routing.sharedScores.size() / std::max<int64_t>(1, routing.numTokens);
  routing.sharedWeights = routing.sharedScores;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    const int64_t *ids = &routing.ids[t * choices];
    double *sharedRow = routing.sharedWeights.data() + t * shared;
    std::vector<int64_t> slots;
    for (int64_t j = 0; j < choices; ++j)
      if (ids[j] >= 0)
        slots.push_back(j);
    Doubles values(slots.size(), router.weightMode == WeightMode::Mean ? 1.0 / slots.size() : 1.0);
    if (router.weightMode == WeightMode::Gathered) {
      for (size_t i = 0; i < slots.size(); ++i)
        values[i] = routing.scores[t * routing.rows + ids[slots[i]]];
      if (router.scoreOver == ScoreOver::Selected) { // those of shared experts with them
        values.insert(values.end(), sharedRow, sharedRow + shared);
        scoreInPlace(router.score, values.data(), values.size());
        std::copy(values.end() - shared, values.end(), sharedRow);
      }
    }
    for (int64_t j = 0; j < choices; ++j)
      routing.weights[t * choices + j] = 0;
    for (size_t i = 0; i < slots.size(); ++i)
      routing.weights[t * choices + slots[i]] = values[i];
  }
}

// sum: w / (Σw + ε) · lp: w / (‖w‖_p + ε) · softmax: over the n values. eps_mode floor: the divisor is max(·, ε).
void normalizeInPlace(const RouterNormalize &normalize, double *weights, int64_t n) {
  if (normalize.kind == NormalizeKind::None || n == 0)
    return;
  if (normalize.kind == NormalizeKind::Softmax)
    return softmaxInPlace(weights, n);
  double divisor = 0;
  for (int64_t j = 0; j < n; ++j)
    divisor += normalize.kind == NormalizeKind::Sum ? weights[j] : std::pow(std::fabs(weights[j]), normalize.p);
  if (normalize.kind == NormalizeKind::Lp)
    divisor = std::pow(divisor, 1 / normalize.p);
  if (normalize.epsMode == EpsMode::Add)
    divisor += normalize.eps;
  else if (divisor < normalize.eps)
    divisor = normalize.eps;
  for (int64_t j = 0; j < n; ++j)
    weights[j] /= divisor;
}

namespace {

// Stage 9 over the slots of each token that `used` marks, stage 10: · scale · expert_scale[id].
bool normalizeAndScale(ReferenceRun &run, const std::vector<uint8_t> &used, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  int64_t choices = routing.choices;
  Doubles scale(routing.rows, 1.0), all(1, 1.0);
  if (router.expertScale && !run.vector("router.expert_scale", 0, routing.rows, scale))
    return false;
  if (router.globalScale && !run.vector("router.global_scale", 0, 1, all))
    return false;
  all[0] *= router.scale;
  int64_t shared = routing.sharedWeights.size() / std::max<int64_t>(1, routing.numTokens);
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    double *sharedRow = routing.sharedWeights.data() + t * shared;
    Doubles values;
    for (int64_t i = t * choices; i < (t + 1) * choices; ++i)
      if (used[i])
        values.push_back(routing.weights[i]);
    values.insert(values.end(), sharedRow, sharedRow + shared);
    normalizeInPlace(router.normalize, values.data(), values.size());
    int64_t next = 0;
    for (int64_t i = t * choices; i < (t + 1) * choices; ++i)
      if (used[i])
        routing.weights[i] = values[next++] * all[0] * scale[routing.ids[i]];
    for (int64_t s = 0; s < shared; ++s)
      sharedRow[s] = values[next++] * all[0];
  }
  return true;
}

// A choice that does not reach its expert weighs nothing, unless what overflowed passes its token through.
bool isUsed(const LayerSpec &spec, const Routing &routing, size_t i) {
  bool identity = spec.capacity && spec.capacity->dropped == Dropped::Identity;
  return routing.kept[i] || (identity && routing.overflowed[i] && routing.ids[i] >= 0);
}

void clearDropped(const LayerSpec &spec, Routing &routing) {
  for (size_t i = 0; i < routing.weights.size(); ++i)
    if (!isUsed(spec, routing, i))
      routing.weights[i] = 0;
}

void countChoices(Routing &routing) {
  routing.counts.assign(routing.rows, 0);
  for (size_t i = 0; i < routing.ids.size(); ++i)
    if (routing.kept[i])
      ++routing.counts[routing.ids[i]];
}

void roundWeights(const ReferenceRun &run, Routing &routing) {
  for (Doubles *weights : {&routing.weights, &routing.sharedWeights})
    for (double &weight : *weights)
      weight = finalWeight(run, weight);
}

} // namespace

// From gathered weights to final ones, with capacity before or after normalising.
bool finishWeights(ReferenceRun &run, Routing &routing) {
  const LayerSpec &spec = run.spec;
  routing.overflowed.assign(routing.ids.size(), 0);
  if (spec.router.select.kind == SelectKind::SecondPolicy && !dispatchSecond(run, routing))
    return false;
  countChoices(routing);
  for (size_t i = 0; i < routing.ids.size(); ++i)
    routing.wanted.push_back(routing.kept[i] ? routing.ids[i] : -1);
  bool nextBest = spec.capacity && spec.capacity->overflow == Overflow::NextBest;
  if (spec.capacity && (nextBest || spec.capacity->normalizeAt == NormalizeAt::After)) {
    if (!applyCapacity(run, routing))
      return false;
    if (nextBest)
      gatherWeights(spec.router, routing); // the score of the expert really used
    clearDropped(spec, routing);
    std::vector<uint8_t> used(routing.kept.size());
    for (size_t i = 0; i < used.size(); ++i)
      used[i] = isUsed(spec, routing, i);
    if (!normalizeAndScale(run, used, routing))
      return false;
    roundWeights(run, routing);
    return true;
  }
  std::vector<uint8_t> used(routing.ids.size());
  for (size_t i = 0; i < used.size(); ++i)
    used[i] = routing.ids[i] >= 0;
  if (!normalizeAndScale(run, used, routing) || (spec.capacity && !applyCapacity(run, routing)))
    return false;
  clearDropped(spec, routing);
  roundWeights(run, routing);
  return true;
}

} // namespace moec
