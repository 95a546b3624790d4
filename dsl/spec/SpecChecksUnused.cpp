// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// E-UNUSED: a value that differs from its default and that nothing would read. Nothing is silently ignored.

#include "dsl/spec/SpecCheckList.h"

namespace moec {

void SpecCheckList::unused(const std::string &path, bool isDefault, const std::string &reason) {
  if (isDefault || source.unreadable(path))
    return;
  fail("E-UNUSED", path, source.spelled(path) + " has no effect: " + reason,
       "remove it; nothing in a spec is silently ignored");
}

void SpecCheckList::checkUnused() {
  if (readable({"router.kind", "router.select"})) {
    checkUnusedSelect();
    checkUnusedLogits();
    checkUnusedRouter();
    checkUnusedNoise();
    checkUnusedLevels();
  }
  checkUnusedExperts();
  checkUnusedLayer();
}

void SpecCheckList::checkUnusedSelect() {
  const RouterSpec &router = spec.router;
  const RouterSelect &select = router.select;
  std::string kind = kindText(router.kind);
  bool topK = takesTopK(router.kind);
  bool takesTokens = router.kind == RouterKind::ExpertChoice || router.kind == RouterKind::Depth;
  bool variable = select.kind == SelectKind::TopP || select.kind == SelectKind::Threshold;
  std::string selects = "select.kind is " + std::string(selectKindWords[int(select.kind)]);
  bool ranksAll = router.kind == RouterKind::TokenChoice;
  bool pairs = topK && router.kind != RouterKind::ProductKey && select.kind == SelectKind::SecondPolicy;
  bool given = topK && router.kind != RouterKind::ProductKey;
  unused("router.select.kind", ranksAll || pairs || select.kind == SelectKind::TopK,
         given  ? kind + ", which is given its experts"
         : topK ? kind + ", which takes the k best"
                : kind);
  if (pairs && !ranksAll)
    unused("router.select.second", select.second != SecondPolicy::Gumbel, kind + ", which is given its experts");
  unused("router.select.k", (topK && !variable) || select.k == 1, topK ? selects + ", which has k_max" : kind);
  unused("router.select.eps", select.kind == SelectKind::SparseMixer || select.eps == 0, selects);
  unused("router.select.second", select.kind == SelectKind::SecondPolicy || select.second == SecondPolicy::Always,
         selects);
  bool threshold = select.kind == SelectKind::Threshold ||
                   (select.kind == SelectKind::SecondPolicy && select.second == SecondPolicy::Threshold);
  unused("router.select.threshold", threshold || select.threshold == 0, selects);
  unused("router.select.p", select.kind == SelectKind::TopP || select.p == 0, selects);
  unused("router.select.k_max", variable || select.kMax == 0, selects);
  unused("router.select.tokens", takesTokens || !select.tokens, kind);
  unused("router.select.capacity_factor", takesTokens || !select.capacityFactor, kind);
  unused("router.select.scope", takesTokens || select.scope == SelectScope::Batch, kind);
  unused("router.k_override", !router.kOverride || (topK && select.kind == SelectKind::TopK), topK ? selects : kind);
}

// Keys of the logits and what becomes of them, for kinds that have none.
void SpecCheckList::checkUnusedLogits() {
  const RouterSpec &router = spec.router;
  std::string why = kindText(router.kind);
  bool drawn = router.kind == RouterKind::Table || router.kind == RouterKind::Random;
  bool fixed = drawn && router.weightMode != WeightMode::Gathered;
  if (fixed)
    why += " with fixed weights";
  bool none = fixed || router.kind == RouterKind::External || router.kind == RouterKind::Hierarchical ||
              router.kind == RouterKind::Depth;
  bool scores = !none && router.kind != RouterKind::Soft;
  bool ranks = router.kind == RouterKind::TokenChoice;
  unused("router.bias", scores || !router.bias, why);
  unused("router.logit_dtype", !none || router.logitDType == LogitDType::Activation, why);
  unused("router.transform", !none || router.transform.empty(), why);
  unused("router.noise", !none || router.noise.kind == NoiseKind::None, why);
  unused("router.score", scores || router.score == Score::Softmax, why);
  unused("router.score_over", scores || router.scoreOver == ScoreOver::All, why);
  bool byGroup = router.kind == RouterKind::Table && router.tokenGroups; // groups from 1 on choose by it
  unused("router.choice_bias", ranks || byGroup || !router.choiceBias, why);
  unused("router.groups", ranks || !router.groups, why);
  if (spec.choosesInEachGroup()) {
    const char *all = "groups.choose is each, which leaves out no group";
    unused("router.groups.keep", router.groups->keep == 0, all);
    unused("router.groups.score", router.groups->score == GroupScore::Max, all);
    unused("router.groups.masked", router.groups->masked == GroupMasked::Zero, all);
  }
  unused("router.normalize", scores || router.normalize.kind == NormalizeKind::None, why);
  if (scores && router.normalize.kind != NormalizeKind::None)
    unused("router.normalize", router.weightMode == WeightMode::Gathered, "router.weight_mode fixes the weights");
}

void SpecCheckList::checkUnusedRouter() {
  const RouterSpec &router = spec.router;
  std::string kind = kindText(router.kind);
  bool soft = router.kind == RouterKind::Soft;
  bool sampled = router.kind == RouterKind::TokenChoice && router.select.kind == SelectKind::SparseMixer;
  bool leavesOut = router.kind == RouterKind::ExpertChoice || router.kind == RouterKind::Depth;
  unused("router.vocab", router.kind == RouterKind::Table || router.vocab == 0, kind);
  unused("router.slots", soft || router.slots == 1, kind);
  unused("router.scope", soft || router.scope == SelectScope::Sequence, kind);
  unused("router.combine_weights", soft || router.combineWeights == CombineWeights::Own, kind);
  unused("router.levels", router.kind == RouterKind::Hierarchical || router.levels.empty(), kind);
  unused("router.unselected", leavesOut || router.unselected == Unselected::Zero, kind);
  unused("router.random_replace.p", takesTopK(router.kind) || router.randomReplace == 0, kind);
  unused("router.expert_dropout.p", takesTopK(router.kind) || router.expertDropout.p == 0, kind);
  unused("router.expert_dropout.at", router.expertDropout.p != 0 || router.expertDropout.at == DropExpertsAt::Before,
         "router.expert_dropout.p is 0");
  unused("router.straight_through", router.weightMode != WeightMode::Gathered || !router.straightThrough,
         "router.weight_mode is gathered, whose weights have a gradient already");
  if (router.straightThrough && router.weightMode != WeightMode::Gathered)
    unused("router.straight_through", spec.hasRouterWeight() && !sampled, kind + ", which has no scores to learn by");
  unused("router.weight_mode", takesTopK(router.kind) || router.weightMode == WeightMode::Gathered, kind);
  unused("router.global_scale", !soft || !router.globalScale, kind);
  unused("router.expert_scale", !soft || !router.expertScale, kind);
  unused("router.input.jitter_scope", router.input.jitter != 0 || router.input.jitterScope == JitterScope::Router,
         "router.input.jitter is 0");
  const RouterNormalize &normalize = router.normalize;
  bool divides = normalize.kind == NormalizeKind::Sum || normalize.kind == NormalizeKind::Lp;
  unused("router.normalize.p", normalize.kind == NormalizeKind::Lp || normalize.p == 1, "normalize.kind is not lp");
  unused("router.normalize.eps", divides || normalize.eps == 0, "normalize.kind divides by no sum");
  unused("router.normalize.eps_mode", divides || normalize.epsMode == EpsMode::Add, "normalize.kind divides by no sum");
  unused("router.normalize.over", router.kind == RouterKind::ExpertChoice || normalize.over == NormalizeOver::Token,
         kind);
  bool multiplies = spec.hasRouterWeight() || soft || router.kind == RouterKind::Hierarchical;
  unused("dtype.router", multiplies || spec.dtype.router == spec.dtype.weight, kind + ", which has no logits");
  unused("inputs.token_ids", router.kind == RouterKind::Table || !spec.inputs.tokenIds, kind);
  unused("inputs.expert_ids", router.kind == RouterKind::External || sampled || !spec.inputs.expertIds, kind);
  bool ranked = (router.kind == RouterKind::TokenChoice || router.kind == RouterKind::ProductKey) &&
                router.select.kind == SelectKind::TopK;
  unused("inputs.top_k", ranked || !spec.inputs.topK, ranked ? kind : "only topk has a number of choices to lower");
  bool grouped = router.kind == RouterKind::Hierarchical || router.tokenGroups;
  unused("inputs.group_ids", grouped || !spec.inputs.groupIds, kind);
}

// A level chooses by its own logits and nothing else.
void SpecCheckList::checkUnusedLevels() {
  for (size_t i = 0; i < spec.router.levels.size(); ++i) {
    const RouterSpec &level = spec.router.levels[i];
    std::string path = "router.levels[" + std::to_string(i) + "].", why = "a level has no such step";
    const RouterInput &input = level.input;
    unused(path + "input", !input.norm && input.jitter == 0 && input.from == BranchInput::X, why);
    unused(path + "bias", !level.bias, why);
    unused(path + "transform", level.transform.empty(), why);
    unused(path + "noise", level.noise.kind == NoiseKind::None, why);
    unused(path + "choice_bias", !level.choiceBias, why);
    unused(path + "groups", !level.groups, why);
    unused(path + "token_groups", !level.tokenGroups, why);
    unused(path + "select.tokens", !level.select.tokens, why);
    unused(path + "select.capacity_factor", !level.select.capacityFactor, why);
    unused(path + "vocab", level.vocab == 0, why);
    unused(path + "slots", level.slots == 1, why);
    unused(path + "scope", level.scope == SelectScope::Sequence, why);
    unused(path + "combine_weights", level.combineWeights == CombineWeights::Own, why);
    unused(path + "random_replace.p", level.randomReplace == 0, why);
    unused(path + "expert_dropout", level.expertDropout.p == 0, why);
    unused(path + "straight_through", !level.straightThrough, why);
    unused(path + "unselected", level.unselected == Unselected::Zero, why);
    unused(path + "scale", level.scale == 1, why);
    unused(path + "global_scale", !level.globalScale, why);
    unused(path + "expert_scale", !level.expertScale, why);
    unused(path + "weight_dtype", level.weightDType == WeightDType::F32, why);
    unused(path + "weight_mode", level.weightMode == WeightMode::Gathered, why);
    unused(path + "k_override", !level.kOverride, why);
  }
}

void SpecCheckList::checkUnusedNoise() {
  const RouterNoise &noise = spec.router.noise;
  bool learned = noise.kind == NoiseKind::Learned;
  unused("router.noise.std", noise.kind == NoiseKind::Normal || noise.std == 1, "noise.kind is not normal");
  unused("router.noise.std_fn", learned || noise.stdFn == NoiseStdFn::Softplus, "noise.kind is not learned");
  unused("router.noise.eps", learned || noise.eps == 0, "noise.kind is not learned");
  RouterKind kind = spec.router.kind;
  bool given = kind == RouterKind::Random || (kind == RouterKind::Table && !spec.router.tokenGroups);
  bool clean = kind == RouterKind::Soft || kind == RouterKind::Dense || given ||
               (kind == RouterKind::TokenChoice && spec.router.select.kind == SelectKind::SparseMixer);
  if (noise.kind == NoiseKind::Gumbel)
    unused("router.noise", !clean, "gumbel noise is for choosing only, and nothing is chosen by it here");
  unused("router.noise.when", noise.kind != NoiseKind::None || noise.when == NoiseWhen::Train, "noise.kind is none");
}

// Keys that routed and shared experts have in common; `path` is "experts." or "shared.".
void SpecCheckList::checkUnusedFeedForward(const std::string &path, const FeedForward &block) {
  bool linear = block.form == ExpertForm::Linear, glu = block.form == ExpertForm::Glu;
  std::string form = path + "form is " + std::string(formWords[int(block.form)]);
  std::string act = linear ? form : path + "act is not silu";
  bool silu = !linear && block.act == Activation::Silu;
  unused(path + "act", !linear || block.act == Activation::Silu, form);
  unused(path + "act_alpha", silu || block.actAlpha == 1, act);
  unused(path + "up_offset", glu || block.upOffset == 0, form);
  unused(path + "clamp", !linear || !block.clamp, form);
  if (block.softcap && !glu)
    unused(path + "softcap", false, form);
  else if (block.softcap && !block.softcap->gate && !block.softcap->up)
    unused(path + "softcap", false, "it names neither gate nor up");
  else if (block.softcap)
    unused(path + "softcap.gate", silu || !block.softcap->gate, act);
  unused(path + "bias.out", !linear || !block.bias.out, form);
}

// `path` is the norm's key.
void SpecCheckList::checkUnusedNorm(const std::string &path, const std::optional<NormSpec> &norm) {
  if (!norm || source.unreadable(path))
    return;
  unused(path + ".unit_offset", norm->weight || !norm->unitOffset, "weight is false");
  unused(path + ".per_expert", norm->weight || norm->perExpert, "weight is false");
  bool layerNorm = norm->kind == NormKind::LayerNorm;
  unused(path + ".weight_at", (norm->weight && !layerNorm) || !norm->before,
         layerNorm ? "kind is layernorm, whose factor comes after" : "weight is false");
}

void SpecCheckList::checkUnusedExperts() {
  const ExpertsSpec &experts = spec.experts;
  if (readable({"experts.form", "experts.act"})) {
    bool linear = experts.form == ExpertForm::Linear;
    std::string form = "experts.form is " + std::string(formWords[int(experts.form)]);
    unused("experts.intermediate", !linear || experts.intermediate.empty(), form);
    checkUnusedFeedForward("experts.", experts);
    unused("experts.layers", experts.form == ExpertForm::Mlp || experts.layers == 1, form);
    unused("experts.hidden_dropout.p", !linear || experts.hiddenDropout.p == 0, form);
  }
  if (experts.latent) {
    checkUnusedNorm("experts.latent.norm_in", experts.latent->normIn);
    checkUnusedNorm("experts.latent.norm_out", experts.latent->normOut);
  }
  checkUnusedNorm("experts.norm_out", experts.normOut);
  checkUnusedNorm("combine.norm_out", spec.combine.normOut);
  unused("experts.hidden_dropout.eval", experts.hiddenDropout.p != 0 || !experts.hiddenDropout.scaleAtEval,
         "hidden_dropout.p is 0");
  unused("experts.output_dropout.eval", experts.outputDropout.p != 0 || !experts.outputDropout.scaleAtEval,
         "output_dropout.p is 0");
  const QuantSpec &quant = experts.quant;
  if (quant.kind == QuantKind::None && readable({"experts.quant"})) {
    unused("experts.quant.block", quant.block.empty(), "quant.kind is none");
    unused("experts.quant.scale_dtype", quant.scaleDType == DataType::F32, "quant.kind is none");
    unused("experts.quant.zero_point", !quant.zeroPoint, "quant.kind is none");
  }
  if (spec.shared && readable({"shared"})) {
    if (spec.shared->form == ExpertForm::Linear)
      unused("shared.intermediate", spec.shared->intermediate == 0, "shared.form is linear");
    checkUnusedFeedForward("shared.", *spec.shared);
  }
}

void SpecCheckList::checkUnusedLayer() {
  if (spec.capacity && readable({"capacity"})) {
    const CapacitySpec &capacity = *spec.capacity;
    bool rounds = capacity.mode == CapacityMode::Factor || capacity.mode == CapacityMode::Fraction;
    unused("capacity.group_size", capacity.scope == CapacityScope::Group || capacity.groupSize == 0,
           "capacity.scope is not group");
    unused("capacity.per_choice", capacity.mode == CapacityMode::Factor || capacity.perChoice,
           "capacity.mode is not factor");
    unused("capacity.round", rounds || capacity.round == CapacityRound::Ceil,
           "nothing is rounded in this capacity.mode");
    unused("capacity.major",
           capacity.order != CapacityOrder::LargestPerExpert || capacity.major == CapacityMajor::Choice,
           "capacity.order largest_per_expert ranks every choice by its own weight");
    unused("capacity.value", capacity.mode != CapacityMode::Dynamic || capacity.value == 0,
           "capacity.mode dynamic gets its value with every call");
  }
  if (readable({"layer"})) {
    const WrapSpec &layer = spec.layer;
    bool depth = layer.wrap == LayerWrap::Depth;
    bool tests = layer.wrap == LayerWrap::Conditional || layer.wrap == LayerWrap::Skip;
    const char *why = "layer.wrap does not read it";
    unused("layer.tokens", depth || !layer.tokens, why);
    unused("layer.capacity", depth || !layer.capacity, why);
    unused("layer.scope", depth || layer.scope == SelectScope::Sequence, why);
    unused("layer.residual", layer.wrap != LayerWrap::None || !layer.residual, why);
    unused("layer.threshold", tests || layer.threshold == 0.5, why);
    unused("layer.dense", layer.wrap == LayerWrap::Conditional || !layer.dense, why);
  }
  if (readable({"passes", "save"}))
    unused("save", spec.trains() || spec.save == Save::All, "passes has no backward");
}

} // namespace moec
