// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Constraints of `capacity`, `losses`, `reports`, `update`, `passes` and `layer`.

#include "dsl/spec/SpecCheckList.h"

#include "dsl/Frozen.h"
#include "dsl/Reports.h"

#include <algorithm>
#include <cmath>

namespace moec {

void SpecCheckList::checkCapacity() {
  if (!spec.capacity || !readable({"capacity"}))
    return;
  checkCapacityValue();
  checkCapacityKind();
}

void SpecCheckList::checkCapacityValue() {
  const CapacitySpec &capacity = *spec.capacity;
  double value = capacity.value;
  if (capacity.mode == CapacityMode::Fixed && (value < 1 || value != std::floor(value)))
    fail("E-CAP-VALUE", "capacity.value", "capacity.mode fixed needs a whole number of tokens per expert as value",
         "for example \"value\": 64");
  if (capacity.mode == CapacityMode::Factor && value <= 0)
    fail("E-CAP-VALUE", "capacity.value", "capacity.mode factor needs a value above 0",
         "for example \"value\": 1.25; an expert then takes 1.25 * T * K / E tokens");
  if (capacity.mode == CapacityMode::Fraction && (value <= 0 || value > 1))
    fail("E-CAP-VALUE", "capacity.value", "capacity.mode fraction needs a value above 0 and at most 1",
         "it is the share of all tokens one expert takes");
  if (capacity.scope == CapacityScope::Group && capacity.groupSize == 0)
    fail("E-CAP-VALUE", "capacity.group_size", "capacity.scope group needs capacity.group_size",
         "it is the number of consecutive tokens that share a capacity");
  if (capacity.mode == CapacityMode::Dynamic && !capacity.max)
    fail("E-CAP-DYN", "capacity.max", "capacity.mode dynamic needs capacity.max",
         "memory is laid out when compiling: give the largest capacity a call may ask for");
  if (capacity.max && capacity.min > *capacity.max)
    fail("E-CAP-VALUE", "capacity.min",
         "capacity.min (" + std::to_string(capacity.min) + ") is larger than capacity.max (" +
             std::to_string(*capacity.max) + ")");
}

void SpecCheckList::checkCapacityKind() {
  if (!readable({"router.kind", "router.select", "experts.count"}))
    return;
  RouterKind kind = spec.router.kind;
  if (kind == RouterKind::ExpertChoice || kind == RouterKind::Soft)
    fail("E-CAP-KIND", "capacity", "capacity does not go with router.kind " + std::string(routerKindWords[int(kind)]),
         kind == RouterKind::Soft ? "each expert takes router.slots slots" : "each expert takes select.tokens tokens");
  if (spec.capacity->overflow != Overflow::NextBest)
    return;
  std::string why;
  if (kind != RouterKind::TokenChoice)
    why = "router.kind " + std::string(routerKindWords[int(kind)]);
  else if (spec.router.select.kind == SelectKind::SparseMixer)
    why = "select.kind sparsemixer";
  else if (takesTopK(kind) && spec.choices() >= spec.experts.count)
    why = "every expert chosen";
  else if (spec.choosesInEachGroup())
    why = "groups.choose each";
  else if (spec.router.expertDropout.p != 0)
    why = "router.expert_dropout, which leaves experts out";
  else if (spec.hasOwnExperts())
    why = "token_groups.experts own";
  if (!why.empty())
    fail("E-CAP-NEXT", "capacity.overflow", "capacity.overflow next_best has no next expert with " + why,
         "use capacity.overflow drop");
}

void SpecCheckList::checkTraining() {
  checkPasses();
  checkLosses();
  checkReports();
  checkUpdate();
}

void SpecCheckList::checkPasses() {
  if (!readable({"passes", "router.select", "layer", "frozen"}))
    return;
  if (!spec.passes.forward)
    fail("E-PASSES", "passes", "passes must contain \"forward\"", "backward needs what forward keeps");
  if (spec.takesSamples() && !spec.inputs.expertIds && readable({"router.kind", "inputs"}))
    fail("E-TRAIN-SPARSEMIXER", "router.select.kind", "sparsemixer cannot be trained without its sampled ids",
         "add \"inputs\": {\"expert_ids\": true}: a call then takes expert_ids and midpoint_mask; or use \"passes\": "
         "[\"forward\"]");
  const char *role = spec.layer.wrap == LayerWrap::Conditional ? "selector.weight"
                     : spec.layer.wrap == LayerWrap::Skip      ? "skip.weight"
                                                               : nullptr;
  if (role && spec.passes.backward && !isFrozen(spec, role))
    fail("E-LOSS-NOGRAD", "layer.wrap", std::string("no gradient reaches ") + role + ": the choice is a hard switch",
         std::string("add \"") + role + "\" to frozen");
}

constexpr size_t maxLosses = 16;

void SpecCheckList::checkLosses() {
  if (!readable({"losses", "router.kind", "router.noise"}))
    return;
  RouterKind kind = spec.router.kind;
  if (spec.losses.size() > maxLosses)
    fail("E-RANGE", "losses",
         "a layer has " + std::to_string(spec.losses.size()) + " losses; at most " + std::to_string(maxLosses) +
             " are allowed",
         "each is a value of its own: leave out those that repeat");
  bool logits = spec.hasExpertLogits();
  bool slotted = kind == RouterKind::Soft || kind == RouterKind::ExpertChoice;
  for (size_t i = 0; i < spec.losses.size(); ++i) {
    const LossSpec &loss = spec.losses[i];
    std::string path = "losses[" + std::to_string(i) + "]";
    auto option = [&](const char *key) {
      auto found = loss.options.find(key);
      return found == loss.options.end() ? std::string() : found->second;
    };
    bool counts = loss.kind == "count_variance" || (loss.kind == "cv2" && option("of") == "\"counts\"");
    if (counts && loss.coef != 0)
      fail("E-LOSS-NOGRAD", path + ".coef", "loss " + loss.kind + " of counts has no gradient and cannot have a coef",
           "set coef to 0: it is then a metric");
    if (loss.kind == "cv2" && option("of") == "\"load\"" && spec.router.noise.kind != NoiseKind::Normal &&
        spec.router.noise.kind != NoiseKind::Learned)
      fail("E-LOSS-LOAD", path + ".of", "cv2 of load needs router.noise normal or learned",
           "load is the chance to be chosen under noise; use \"of\": \"importance\" without noise");
    if (loss.kind == "load_balance" && slotted)
      fail("E-LOSS-KIND", path + ".kind",
           "load_balance does not exist with router.kind " + std::string(routerKindWords[int(kind)]),
           "every expert takes the same number of tokens there");
    if (loss.kind == "z" && kind == RouterKind::Table)
      fail("E-LOSS-KIND", path + ".kind", "loss z does not exist with router.kind table",
           "the ids do not come from logits");
    checkLossQuantities(loss, path, logits);
  }
}

// What a loss is made of must exist: logits of all experts, choices, groups of one size.
void SpecCheckList::checkLossQuantities(const LossSpec &loss, const std::string &path, bool logits) {
  RouterKind kind = spec.router.kind;
  std::string with = spec.hasOwnExperts()
                         ? " does not exist with router.token_groups.experts own"
                         : " does not exist with router.kind " + std::string(routerKindWords[int(kind)]);
  bool importance = loss.kind == "cv2" && !loss.is("of", "load") && !loss.is("of", "counts");
  bool selected = loss.kind == "uniform_mse" && loss.is("over", "selected");
  bool onIds =
      importance || selected || loss.kind == "count_variance" || (loss.kind == "cv2" && loss.is("of", "counts"));
  if (!logits && !onIds)
    fail("E-LOSS-KIND", path + ".kind", "loss " + loss.kind + with, "it is made of logits of all experts");
  if (kind == RouterKind::Soft && onIds)
    fail("E-LOSS-KIND", path + ".kind", "loss " + loss.kind + with, "tokens choose no experts there");
  bool ranked =
      kind == RouterKind::TokenChoice && spec.router.select.kind == SelectKind::TopK && !spec.choosesInEachGroup();
  if (logits && loss.kind == "cv2" && loss.is("of", "load") && !ranked)
    fail("E-LOSS-LOAD", path + ".of",
         spec.choosesInEachGroup() ? "cv2 of load does not go with groups.choose each"
                                   : "cv2 of load needs router.kind token_choice with select.kind topk",
         "load is the chance to be among the k largest; use \"of\": \"importance\"");
  if (loss.is("probs", "normalized_score") && spec.router.score == Score::Identity)
    fail("E-SCORE-NORM", path + ".probs",
         "probs normalized_score needs scores that are not negative; score is identity", "use probs softmax_all");
  int64_t groups = loss.integer("groups", 1);
  if (groups > 1 && spec.routerRows() % groups)
    fail("E-LOSS-KIND", path + ".groups",
         std::to_string(spec.routerRows()) + " experts cannot be cut into " + std::to_string(groups) +
             " groups of one size",
         "groups must divide the number of experts, zero experts included");
}

// "all" means all that the layer can have; a name means that one.
void SpecCheckList::checkReports() {
  if (!readable({"reports", "router.kind"}) || spec.reports == allReports())
    return;
  unsigned possible = possibleReports(spec);
  for (unsigned bit = 0; bit < reportNames().size(); ++bit)
    if (spec.reports >> bit & ~(possible >> bit) & 1)
      fail("E-REPORT", "reports." + std::string(reportNames()[bit]),
           "a layer with router.kind " + std::string(routerKindWords[int(spec.router.kind)]) +
               " cannot have the report " + std::string(reportNames()[bit]) + ": " + std::string(whyNoReport(bit)),
           "leave it out; \"all\" means every report that the layer can have");
}

void SpecCheckList::checkUpdate() {
  if (spec.update && readable({"update", "router.choice_bias"}) && !spec.router.choiceBias)
    fail("E-UPDATE", "update", "update bias_sign moves router.choice_bias, which is false",
         "set router.choice_bias to true, or remove update");
  if (spec.update && readable({"update", "router"}) && spec.router.tokenGroups)
    fail("E-UPDATE", "update", "update bias_sign moves one choice bias, and router.token_groups has one for each group",
         "leave out update");
}

void SpecCheckList::checkLayer() { checkWrap(); }

void SpecCheckList::checkWrap() {
  if (!readable({"layer"}))
    return;
  const WrapSpec &layer = spec.layer;
  if (layer.wrap == LayerWrap::Depth && layer.tokens.has_value() == layer.capacity.has_value())
    fail("E-WRAP", layer.tokens ? "layer.capacity" : "layer.tokens",
         "layer.wrap depth needs exactly one of layer.tokens and layer.capacity",
         "tokens is a number per sequence, capacity a share of the sequence");
  if (layer.wrap == LayerWrap::Conditional && !layer.dense)
    fail("E-WRAP", "layer.dense", "layer.wrap conditional needs layer.dense",
         "it is the block that tokens take which skip the experts");
  if (layer.dense && layer.dense->intermediate == 0 && layer.dense->form != ExpertForm::Linear)
    fail("E-MISSING", "layer.dense.intermediate", "key \"layer.dense.intermediate\" is required",
         "it is the inner width of the dense block");
}

} // namespace moec
