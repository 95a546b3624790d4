// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two levels of gates -> ids and weights [T, k1·k2] of the oracle.
//
//   a = level 0 over G groups, k1 chosen      b = level 1 over the n experts of each chosen group, k2 chosen
//   id = g·n + e     w = a_g · b_{g,e}        level 0 of kind table: the caller's group, a = 1

#include "dsl/reference/ReferenceStages.h"

namespace moec {

namespace {

// One level from its logits (r.noisy) to normalised and scaled weights.
bool routeLevel(ReferenceRun &run, const RouterSpec &level, Routing &r) {
  r.scores = r.choice = r.noisy;
  for (int64_t t = 0; t < r.numTokens && level.scoreOver == ScoreOver::All; ++t) {
    scoreInPlace(level.score, &r.scores[t * r.rows], r.rows);
    scoreInPlace(level.score, &r.choice[t * r.rows], r.rows);
  }
  if (!selectExperts(run, level, level.select.k, r))
    return false;
  gatherWeights(level, r);
  for (int64_t t = 0; t < r.numTokens; ++t)
    normalizeInPlace(level.normalize, &r.weights[t * r.choices], r.choices);
  for (double &w : r.weights)
    w *= level.scale;
  return true;
}

bool givenGroups(ReferenceRun &run, int64_t groups, Routing &top) {
  Doubles given;
  if (!run.extra("group_ids", 1, "router.levels[0].kind", given))
    return false;
  top.choices = 1;
  top.weights.assign(run.numTokens, 1);
  for (double g : given) {
    if (!(g >= 0 && g < groups))
      return run.fail("input 'group_ids' holds a value outside 0.." + std::to_string(groups - 1));
    top.ids.push_back(int64_t(g));
  }
  return true;
}

} // namespace

bool routeHierarchical(ReferenceRun &run, Routing &routing) {
  const RouterSpec &first = run.spec.router.levels[0], &second = run.spec.router.levels[1];
  int64_t groups = first.count, each = second.count;
  Routing top;
  top.numTokens = run.numTokens;
  top.rows = groups;
  if (first.kind == RouterKind::Table) {
    if (!givenGroups(run, groups, top))
      return false;
  } else if (!transformedLogits(run, first, "router.level0.weight", groups, top.noisy) ||
             !routeLevel(run, first, top)) {
    return false;
  }
  Doubles logits;
  if (!transformedLogits(run, second, "router.level1.weight", groups * each, logits))
    return false;
  routing.choices = top.choices * second.select.k;
  routing.kept.assign(run.numTokens * routing.choices, 1);
  for (int64_t i = 0; i < run.numTokens * top.choices; ++i) {
    Routing inner;
    inner.numTokens = 1;
    inner.rows = each;
    const double *z = &logits[(i / top.choices * groups + top.ids[i]) * each];
    inner.noisy.assign(z, z + each);
    if (!routeLevel(run, second, inner))
      return false;
    for (int64_t j = 0; j < inner.choices; ++j) {
      routing.ids.push_back(top.ids[i] * each + inner.ids[j]);
      routing.weights.push_back(top.weights[i] * inner.weights[j]);
    }
  }
  return true;
}

} // namespace moec
