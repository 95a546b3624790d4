// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Constraints of `router`: how many experts a token can take, from which groups, by which scores.

#include "dsl/spec/SpecCheckList.h"

namespace moec {

void SpecCheckList::checkRouting() {
  checkTopK();
  checkVariableChoices();
  checkGroups();
  checkTokenGroups();
  checkScoreNorm();
  checkSparseMixer();
  checkExpertDropout();
  checkTokensTaken();
  checkTransforms();
  checkLevels();
  checkProductKey();
  checkCausal();
  checkTableIds();
}

// The number of router rows under the names of the keys that make it.
std::string SpecCheckList::rowsText() const {
  std::string count = std::to_string(spec.experts.count);
  if (!spec.experts.zero)
    return "experts.count (" + count + ")";
  return "experts.count + experts.zero.count (" + count + " + " + std::to_string(spec.experts.zero->count) + " = " +
         std::to_string(spec.routerRows()) + ")";
}

// 1 <= k <= E + zero, and k <= experts left after groups.
void SpecCheckList::checkTopK() {
  const RouterSpec &router = spec.router;
  if (!takesTopK(router.kind) || !readable({"router.kind", "router.select", "router.k_override", "experts.count"}))
    return;
  if (router.select.kind == SelectKind::TopP || router.select.kind == SelectKind::Threshold)
    return;
  bool pair = router.select.kind == SelectKind::SecondPolicy || router.select.kind == SelectKind::SparseMixer;
  int64_t k = router.select.k, rows = spec.routerRows();
  std::string name = source.spelled("router.select.k") == "router.top_k" ? "top_k" : "select.k";
  std::string found = name + " (" + std::to_string(k) + ")";
  if (router.select.kind == SelectKind::SecondPolicy && k != 2)
    fail("E-K", "router.select.k", found + " must be 2 with select.kind second_policy",
         "second_policy decides about the second expert; use select.kind topk for other numbers");
  else if (k < 1)
    fail("E-K", "router.select.k", found + " must be at least 1",
         name + " counts experts per token and must be 1.." + std::to_string(rows));
  else if (k > rows)
    fail("E-K", "router.select.k", found + " is larger than " + rowsText(),
         name + " counts experts per token and must be 1.." + std::to_string(rows) +
             (pair ? "" : "; did you swap the two numbers?"));
  else if (k > maxChoices)
    fail("E-K", "router.select.k", found + " is larger than the limit of " + std::to_string(maxChoices));
  else if (router.groups && router.groups->keep > 0 && !spec.choosesInEachGroup() && rows % router.groups->count == 0) {
    int64_t left = router.groups->keep * (rows / router.groups->count);
    if (k > left)
      fail("E-K", "router.select.k",
           found + " is larger than the " + std::to_string(left) + " experts left in " +
               std::to_string(router.groups->keep) + " of " + std::to_string(router.groups->count) + " groups",
           "raise router.groups.keep or lower " + name);
  } else if (spec.hasOwnExperts() && k > spec.experts.count / router.tokenGroups->count)
    fail("E-K", "router.select.k",
         found + " is larger than the " + std::to_string(spec.experts.count / router.tokenGroups->count) +
             " experts of a group of tokens",
         "each of the " + std::to_string(router.tokenGroups->count) + " groups has an equal share of experts.count (" +
             std::to_string(spec.experts.count) + ")");
  if (router.kOverride && *router.kOverride > k)
    fail("E-K", "router.k_override",
         "k_override (" + std::to_string(*router.kOverride) + ") is larger than " + name + " (" + std::to_string(k) +
             ")",
         "k_override makes the trained number of experts smaller");
}

// top_p and threshold: k_max columns, and p.
void SpecCheckList::checkVariableChoices() {
  const RouterSelect &select = spec.router.select;
  bool topP = select.kind == SelectKind::TopP;
  if ((!topP && select.kind != SelectKind::Threshold) || !readable({"router.select", "experts.count"}))
    return;
  std::string kind(selectKindWords[int(select.kind)]);
  if (select.kMax == 0)
    fail("E-MISSING", "router.select.k_max", "key \"router.select.k_max\" is required with select.kind " + kind,
         "k_max is the largest number of experts one token takes");
  else if (select.kMax > spec.routerRows())
    fail("E-K", "router.select.k_max",
         "select.k_max (" + std::to_string(select.kMax) + ") is larger than " + rowsText());
  if (topP && select.p == 0)
    fail("E-MISSING", "router.select.p", "key \"router.select.p\" is required with select.kind top_p",
         "p is the sum of scores to reach, between 0 and 1");
}

// E mod count = 0, keep <= count, two experts per group for a sum of two.
void SpecCheckList::checkGroups() {
  if (!spec.router.groups || !readable({"router.groups", "experts.count", "router.score_over"}))
    return;
  const RouterGroups &groups = *spec.router.groups;
  int64_t rows = spec.routerRows();
  std::string count = std::to_string(groups.count);
  if (rows % groups.count != 0)
    fail("E-GROUP-DIV", "router.groups.count", rowsText() + " is not divisible by groups.count (" + count + ")",
         "groups are equally large runs of consecutive experts");
  if (groups.choose == GroupChoose::Each)
    return checkEachGroup();
  if (groups.keep == 0)
    fail("E-MISSING", "router.groups.keep", "key \"router.groups.keep\" is required with groups.choose best",
         "it is the number of groups that stay; \"choose\": \"each\" takes experts of every group");
  if (rows % groups.count == 0 && groups.score == GroupScore::Top2Sum && rows / groups.count < 2)
    fail("E-GROUP-DIV", "router.groups.score",
         "groups.score top2_sum needs 2 experts per group, found " + std::to_string(rows / groups.count),
         "use groups.score max, or fewer groups");
  if (groups.keep > groups.count)
    fail("E-GROUP-DIV", "router.groups.keep",
         "groups.keep (" + std::to_string(groups.keep) + ") is larger than groups.count (" + count + ")",
         "keep is the number of groups that stay, 1.." + count);
  if (spec.router.scoreOver == ScoreOver::Selected)
    fail("E-GROUP-SELECTED", "router.score_over", "groups cannot be ranked with score_over selected",
         "groups need comparable scores; use score_over all");
}

// Every group gives k / count experts, so their number is fixed.
void SpecCheckList::checkEachGroup() {
  const RouterSpec &router = spec.router;
  int64_t count = router.groups->count;
  std::string each = "groups.choose each takes an equal number of experts of all " + std::to_string(count) + " groups";
  auto refuse = [&](bool bad, const char *path, const std::string &what) {
    if (bad)
      fail("E-GROUP-EACH", path, what + " does not go with groups.choose each",
           each + "; use choose best, or leave the key out");
  };
  if (!readable({"router.select", "router.k_override", "inputs"}))
    return;
  refuse(router.select.kind != SelectKind::TopK, "router.select.kind",
         "select.kind " + std::string(selectKindWords[int(router.select.kind)]));
  refuse(spec.inputs.topK, "inputs.top_k", "inputs.top_k");
  auto divides = [&](const char *path, int64_t k) {
    if (k % count != 0)
      fail("E-GROUP-EACH", path,
           source.spelled(path).substr(source.spelled(path).rfind('.') + 1) + " (" + std::to_string(k) +
               ") is not a multiple of groups.count (" + std::to_string(count) + ")",
           each);
  };
  if (router.select.kind == SelectKind::TopK)
    divides("router.select.k", router.select.k);
  if (router.kOverride)
    divides("router.k_override", *router.kOverride);
}

// Groups of tokens differ in their choice bias or in their experts.
void SpecCheckList::checkTokenGroups() {
  const RouterSpec &router = spec.router;
  if (!router.tokenGroups || !readable({"router", "experts.count", "experts.zero", "capacity"}))
    return;
  bool own = spec.hasOwnExperts(), table = router.kind == RouterKind::Table && !own;
  const char *path = "router.token_groups";
  auto refuse = [&](bool bad, const std::string &with, const std::string &hint) {
    if (bad)
      fail("E-TOKEN-GROUPS", path, "token_groups does not go with " + with, hint);
  };
  refuse(router.kind != RouterKind::TokenChoice && !table,
         "router.kind " + std::string(routerKindWords[int(router.kind)]),
         "groups of tokens choose by score: use token_choice, or table with experts all");
  refuse(table && router.weightMode != WeightMode::Gathered, "fixed weights of a table",
         "tokens of groups from 1 on choose by score: use weight_mode gathered");
  refuse(router.select.kind == SelectKind::SparseMixer || router.select.kind == SelectKind::SecondPolicy,
         "select.kind " + std::string(selectKindWords[int(router.select.kind)]), "use select.kind topk");
  refuse(own && router.groups, "router.groups with experts own", "the groups of tokens divide the experts already");
  refuse(own && spec.experts.zero, "experts.zero with experts own", "use experts all, or leave experts.zero out");
  if (!own && !router.choiceBias)
    fail("E-TOKEN-GROUPS", path, "token_groups with experts all and without choice_bias changes nothing",
         "each group has a choice bias of its own: set router.choice_bias to true, or use experts own");
  if (own && spec.experts.count % router.tokenGroups->count != 0)
    fail("E-GROUP-DIV", "router.token_groups.count",
         "experts.count (" + std::to_string(spec.experts.count) + ") is not divisible by token_groups.count (" +
             std::to_string(router.tokenGroups->count) + ")",
         "each group of tokens has an equally large run of consecutive experts");
}

// Raw logits may be negative or sum to 0.
void SpecCheckList::checkScoreNorm() {
  const RouterSpec &router = spec.router;
  bool divides = router.normalize.kind == NormalizeKind::Sum || router.normalize.kind == NormalizeKind::Lp;
  if (!divides || router.score != Score::Identity || !readable({"router.normalize", "router.score"}))
    return;
  fail("E-SCORE-NORM", "router.normalize.kind",
       "weights of score identity may be negative and cannot be divided by their sum",
       "use normalize.kind softmax, or score softmax");
}

void SpecCheckList::checkSparseMixer() {
  const RouterSpec &router = spec.router;
  if (router.select.kind != SelectKind::SparseMixer || !readable({"router"}))
    return;
  auto refuse = [&](bool bad, const char *path, const std::string &what) {
    if (bad)
      fail("E-BIAS-SPARSEMIXER", path, "select.kind sparsemixer fixes its own weights and does not take " + what,
           "remove the key, or use select.kind topk");
  };
  refuse(router.choiceBias, "router.choice_bias", "choice_bias");
  refuse(router.groups.has_value(), "router.groups", "groups");
  refuse(router.normalize.kind != NormalizeKind::None, "router.normalize.kind", "normalize");
  refuse(router.select.k != 2, "router.select.k", "k " + std::to_string(router.select.k) + ", only 2");
}

// Only a choice by score can be made again without the experts that are left out.
void SpecCheckList::checkExpertDropout() {
  const RouterSpec &router = spec.router;
  if (router.expertDropout.p == 0 || router.expertDropout.at == DropExpertsAt::After || !takesTopK(router.kind) ||
      !readable({"router"}))
    return;
  std::string why;
  if (router.kind != RouterKind::TokenChoice)
    why = "router.kind " + std::string(routerKindWords[int(router.kind)]);
  else if (router.select.kind == SelectKind::SparseMixer)
    why = "select.kind sparsemixer";
  if (!why.empty())
    fail("E-DROPOUT", "router.expert_dropout.at", "expert_dropout before the choice does not go with " + why,
         "use \"at\": \"after\": choices of experts that are left out are then lost");
}

// expert_choice and depth take tokens per expert: one of the two ways to say how many.
void SpecCheckList::checkTokensTaken() {
  const RouterSpec &router = spec.router;
  bool takes = router.kind == RouterKind::ExpertChoice || router.kind == RouterKind::Depth;
  if (!takes || !readable({"router.kind", "router.select"}))
    return;
  if (router.select.tokens && router.select.capacityFactor)
    fail("E-TOKENS", "router.select.capacity_factor", "select.tokens and select.capacity_factor exclude each other",
         "keep one of them");
  if (!router.select.tokens && !router.select.capacityFactor)
    fail("E-TOKENS", "router.select.tokens",
         kindText(router.kind) + " and neither select.tokens nor select.capacity_factor is given",
         "add \"select\": {\"capacity_factor\": 2.0}; each expert then takes 2.0 * T / E tokens");
}

// Published routers have one or two, and each adds to the code of every logit.
static constexpr size_t maxTransforms = 16;

void SpecCheckList::checkTransforms() {
  if (!readable({"router.transform"}))
    return;
  const std::vector<LogitTransform> &transforms = spec.router.transform;
  if (transforms.size() > maxTransforms)
    fail("E-TRANSFORM", "router.transform",
         "a router has " + std::to_string(transforms.size()) + " transforms; at most " + std::to_string(maxTransforms) +
             " are allowed",
         "join neighbours of one kind: two temperatures are their product, of two clamps the narrower counts");
  int learned[2] = {0, 0};
  for (size_t i = 0; i < transforms.size(); ++i) {
    const LogitTransform &transform = transforms[i];
    std::string path = "router.transform[" + std::to_string(i) + "]";
    if (transform.op == TransformOp::Clamp && transform.min >= transform.max)
      fail("E-TRANSFORM", path + ".max", "clamp needs min below max", "swap the two numbers");
    bool cosine = transform.op == TransformOp::Cosine;
    if (transform.learned && ++learned[cosine] == 2)
      fail("E-TRANSFORM", path,
           std::string("a second learned ") + (cosine ? "cosine" : "temperature") + " has no parameter",
           "keep one learned transform of each kind");
    if (cosine && i != 0)
      fail("E-TRANSFORM", path, "cosine replaces the product of tokens and router rows and must come first",
           "move it to the front of the list");
  }
}

// Two levels; E is the product of their counts; each takes at most what it has.
void SpecCheckList::checkLevels() {
  const RouterSpec &router = spec.router;
  if (router.kind != RouterKind::Hierarchical || !readable({"router.kind", "router.levels", "experts.count"}))
    return;
  if (router.levels.size() != maxLevels) {
    fail("E-LEVELS", "router.levels",
         "router.kind hierarchical needs 2 levels, found " + std::to_string(router.levels.size()),
         "level 0 chooses groups, level 1 chooses experts inside a group");
    return;
  }
  int64_t groups = router.levels[0].count, each = router.levels[1].count;
  if (groups * each != spec.experts.count)
    fail("E-LEVELS", "router.levels[1].count",
         "levels have " + std::to_string(groups) + " * " + std::to_string(each) + " experts, experts.count is " +
             std::to_string(spec.experts.count),
         "the counts of the levels multiply to experts.count");
  for (size_t i = 0; i < maxLevels; ++i) {
    const RouterSpec &level = router.levels[i];
    std::string path = "router.levels[" + std::to_string(i) + "]";
    bool given = i == 0 && level.kind == RouterKind::Table;
    if (level.kind != RouterKind::TokenChoice && !given)
      fail("E-LEVELS", path + ".kind",
           "level " + std::to_string(i) + " cannot have kind " + std::string(routerKindWords[int(level.kind)]),
           "a level is token_choice; level 0 may be table, with the group given by inputs.group_ids");
    if (level.select.kind != SelectKind::TopK)
      fail("E-LEVELS", path + ".select.kind",
           "a level cannot select by " + std::string(selectKindWords[int(level.select.kind)]), "use select.kind topk");
    if (level.select.k < 1 || level.select.k > level.count)
      fail("E-K", path + ".select.k",
           "select.k (" + std::to_string(level.select.k) + ") is not within 1.." + std::to_string(level.count) +
               ", the count of level " + std::to_string(i));
  }
}

// Product keys: E = n * n, k best of the n * n sums.
void SpecCheckList::checkProductKey() {
  if (spec.router.kind != RouterKind::ProductKey || !readable({"router.kind", "experts.count"}))
    return;
  int64_t n = 1;
  while (n * n < spec.experts.count)
    ++n;
  if (n * n != spec.experts.count)
    fail("E-LEVELS", "experts.count",
         "router.kind product_key needs a square number of experts, found " + std::to_string(spec.experts.count),
         "nearest: " + std::to_string((n - 1) * (n - 1)) + " or " + std::to_string(n * n));
}

void SpecCheckList::checkCausal() {
  if (!spec.causal || !readable({"causal", "router.kind", "layer.wrap"}))
    return;
  RouterKind kind = spec.router.kind;
  if (kind == RouterKind::ExpertChoice || kind == RouterKind::Soft || kind == RouterKind::Depth)
    fail("E-CAUSAL", "router.kind",
         "router.kind " + std::string(routerKindWords[int(kind)]) + " looks at later tokens, but causal is true",
         "use token_choice, or set causal to false");
  if (spec.layer.wrap == LayerWrap::Depth)
    fail("E-CAUSAL", "layer.wrap", "layer.wrap depth looks at later tokens, but causal is true",
         "use layer.wrap skip, or set causal to false");
}

void SpecCheckList::checkTableIds() {
  if (!readable({"router.kind", "inputs"}))
    return;
  const RouterSpec &router = spec.router;
  auto need = [&](bool needed, bool given, const std::string &input, const std::string &who) {
    if (needed && !given)
      fail("E-TABLE-IDS", "inputs." + input, who + " needs inputs." + input,
           "set it to true, or leave it out: it is implied");
  };
  need(router.kind == RouterKind::Table, spec.inputs.tokenIds, "token_ids", "router.kind table");
  need(router.kind == RouterKind::External, spec.inputs.expertIds, "expert_ids", "router.kind external");
  bool fixedGroup =
      router.kind == RouterKind::Hierarchical && !router.levels.empty() && router.levels[0].kind == RouterKind::Table;
  need(fixedGroup, spec.inputs.groupIds, "group_ids", "a first level of kind table");
  need(router.tokenGroups.has_value(), spec.inputs.groupIds, "group_ids", "router.token_groups");
}

} // namespace moec
