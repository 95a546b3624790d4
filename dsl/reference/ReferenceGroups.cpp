// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Columns of the router that not every token chooses among: those of other groups' experts and of shared experts.
//
//   experts own   group g chooses among the g-th of `count` equal runs of experts, by rows of its own
//   gate router   the last S columns weigh the shared experts

#include "dsl/reference/ReferenceStages.h"

#include <limits>

namespace moec {

// Every group's rows for all tokens; which of them a token may choose is for hideOtherGroups().
static bool ownLogits(ReferenceRun &run, Doubles &out) {
  const RouterSpec &router = run.spec.router;
  int64_t rows = run.spec.experts.count, groups = router.tokenGroups->count, each = rows / groups;
  out.assign(run.numTokens * rows, 0);
  for (int64_t g = 0; g < groups; ++g) {
    Doubles own;
    if (!transformedLogits(run, router, tokenGroupRole(g, "weight"), each, own, tokenGroupRole(g, "bias")))
      return false;
    for (size_t i = 0; i < own.size(); ++i)
      out[int64_t(i) / each * rows + g * each + int64_t(i) % each] = own[i];
  }
  return true;
}

bool routerLogits(ReferenceRun &run, Doubles &out) {
  const LayerSpec &spec = run.spec;
  if (spec.hasOwnExperts())
    return ownLogits(run, out);
  return transformedLogits(run, spec.router, "router.weight", spec.logitColumns() + spec.sharedRows(), out);
}

bool groupsOfTokens(ReferenceRun &run, std::vector<int64_t> &out) {
  out.clear();
  if (!run.spec.router.tokenGroups)
    return true;
  int64_t groups = run.spec.router.tokenGroups->count;
  Doubles given;
  if (!run.extra("group_ids", 1, "router.token_groups", given))
    return false;
  for (double g : given) {
    if (!(g >= 0 && g < groups))
      return run.fail("input 'group_ids' holds a value outside 0.." + std::to_string(groups - 1));
    out.push_back(int64_t(g));
  }
  return true;
}

void hideOtherGroups(const LayerSpec &spec, const std::vector<int64_t> &groups, Doubles &values) {
  if (!spec.hasOwnExperts())
    return;
  int64_t rows = spec.experts.count, each = rows / spec.router.tokenGroups->count;
  for (size_t i = 0; i < values.size(); ++i)
    if (int64_t(i) % rows / each != groups[i / rows])
      values[i] = -std::numeric_limits<double>::infinity();
}

// c += b, or b of the token's group; of a table's layer group 0 has none.
bool addChoiceBias(ReferenceRun &run, const std::vector<int64_t> &groups, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  int64_t rows = routing.rows, count = router.tokenGroups ? router.tokenGroups->count : 1;
  bool own = run.spec.hasOwnExperts();
  for (int64_t g = router.kind == RouterKind::Table ? 1 : 0; g < count; ++g) {
    int64_t first = own ? g * (rows / count) : 0, size = own ? rows / count : rows;
    Doubles bias;
    if (!run.vector(router.tokenGroups ? tokenGroupRole(g, "choice_bias") : "router.choice_bias", 0, size, bias))
      return false;
    for (int64_t t = 0; t < routing.numTokens; ++t)
      for (int64_t e = 0; e < size && (groups.empty() || groups[t] == g); ++e)
        routing.choice[t * rows + first + e] += bias[e];
  }
  return true;
}

void splitShared(const LayerSpec &spec, Routing &routing) {
  int64_t shared = spec.sharedRows(), rows = routing.rows, columns = rows + shared;
  if (shared == 0)
    return;
  for (int64_t t = 0; t < routing.numTokens; ++t)
    routing.sharedScores.insert(routing.sharedScores.end(), routing.scores.begin() + t * columns + rows,
                                routing.scores.begin() + (t + 1) * columns);
  for (Doubles *values : {&routing.logits, &routing.noisy, &routing.scores, &routing.choice}) {
    Doubles routed;
    for (int64_t t = 0; t < routing.numTokens; ++t)
      routed.insert(routed.end(), values->begin() + t * columns, values->begin() + t * columns + rows);
    *values = std::move(routed);
  }
}

} // namespace moec
