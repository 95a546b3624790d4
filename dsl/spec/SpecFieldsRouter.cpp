// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys of `router`, in canonical order.

#include "dsl/spec/SpecFields.h"

namespace moec {

const WordList routerKindWords = {"token_choice", "external", "expert_choice", "soft",        "table",
                                  "random",       "dense",    "hierarchical",  "product_key", "depth"};
const WordList selectKindWords = {"topk", "sparsemixer", "second_policy", "top_p", "threshold"};

namespace {

constexpr double big = 1e30;
const WordList scopeWords = {"batch", "sequence"};

void describeNorm(FieldVisitor &v, RouterNorm &norm) {
  int kind = 0;
  v.word("kind", kind, 0, {"rms"});
  v.number("eps", norm.eps, 1e-6, {0, 1});
  v.number("scale", norm.scale, 1.0, {-big, big});
  v.flag("weight", norm.weight, false);
}

void describeInput(FieldVisitor &v, RouterInput &input) {
  v.optionalBlock("norm", input.norm, describeNorm);
  v.number("jitter", input.jitter, 0.0, {0, 1});
  v.choice("jitter_scope", input.jitterScope, JitterScope::Router, {"router", "layer"});
  v.choice("from", input.from, BranchInput::X, {"x", "residual"});
}

void describeTransform(FieldVisitor &v, LogitTransform &transform) {
  v.requiredChoice("op", transform.op, {"clamp", "softcap", "temperature", "cosine"});
  switch (transform.op) {
  case TransformOp::Clamp:
    v.number("min", transform.min, 0, {-big, big}, Need::Required);
    v.number("max", transform.max, 0, {-big, big}, Need::Required);
    break;
  case TransformOp::SoftCap:
    v.number("cap", transform.value, 1, {0, big, true}, Need::Required);
    break;
  case TransformOp::Temperature:
    v.numberOrWord("value", transform.value, transform.learned, 1, {0, big, true}, "learned");
    break;
  case TransformOp::Cosine:
    v.numberOrWord("scale", transform.value, transform.learned, 1, {-big, big}, "learned");
    v.number("eps", transform.eps, 1e-6, {0, 1});
    break;
  }
}

void describeNoise(FieldVisitor &v, RouterNoise &noise) {
  v.choice("kind", noise.kind, NoiseKind::None, {"none", "normal", "learned", "gumbel"});
  v.number("std", noise.std, 1.0, {0, big});
  v.choice("std_fn", noise.stdFn, NoiseStdFn::Softplus, {"softplus", "softmax"});
  v.number("eps", noise.eps, 0.0, {0, 1});
  v.choice("when", noise.when, NoiseWhen::Train, {"train", "always"});
}

void describeGroups(FieldVisitor &v, RouterGroups &groups) {
  v.integer("count", groups.count, 1, {1, maxExperts}, Need::Required);
  v.choice("choose", groups.choose, GroupChoose::Best, {"best", "each"});
  v.integer("keep", groups.keep, 0, {1, maxExperts});
  v.choice("score", groups.score, GroupScore::Max, {"max", "top2_sum", "sum"});
  v.choice("masked", groups.masked, GroupMasked::Zero, {"zero", "neg_inf"});
}

void describeTokenGroups(FieldVisitor &v, TokenGroups &groups) {
  v.integer("count", groups.count, 1, {1, maxTokenGroups}, Need::Required);
  v.choice("experts", groups.experts, GroupExperts::All, {"all", "own"});
}

// `ranked`: the kind of router takes k experts per token, so k has no default and is always written.
void describeSelect(FieldVisitor &v, RouterSelect &select, bool ranked) {
  constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
  v.choice("kind", select.kind, SelectKind::TopK, selectKindWords);
  bool pair = select.kind == SelectKind::SparseMixer || select.kind == SelectKind::SecondPolicy;
  if (pair && select.k == 1)
    select.k = 2; // the default of these kinds
  int64_t fallback = pair ? 2 : ranked && select.kind == SelectKind::TopK ? lowest : 1;
  // The range of k depends on experts.count: E-K, in SpecChecks.
  v.integer("k", select.k, fallback, {lowest, std::numeric_limits<int64_t>::max()});
  v.number("eps", select.eps, 0.0, {0, 1});
  v.choice("second", select.second, SecondPolicy::Always, {"always", "gumbel", "random_2p", "threshold"});
  v.number("threshold", select.threshold, 0.0, {-big, big});
  v.number("p", select.p, 0.0, {0, 1, true});
  v.integer("k_max", select.kMax, 0, {1, maxChoices});
  v.optionalInteger("tokens", select.tokens, {1, maxTokensTaken});
  v.optionalNumber("capacity_factor", select.capacityFactor, {0, maxExperts, true});
  v.choice("scope", select.scope, SelectScope::Batch, scopeWords);
}

void describeNormalize(FieldVisitor &v, RouterNormalize &normalize) {
  v.choice("kind", normalize.kind, NormalizeKind::None, {"none", "sum", "lp", "softmax"});
  v.number("p", normalize.p, 1.0, {0, 64, true});
  v.number("eps", normalize.eps, 0.0, {0, 1});
  v.choice("eps_mode", normalize.epsMode, EpsMode::Add, {"add", "floor"});
  v.choice("over", normalize.over, NormalizeOver::Token, {"token", "expert"});
}

void describeReplace(FieldVisitor &v, double &probability) { v.number("p", probability, 0.0, {0, 1}); }

void describeExpertDropout(FieldVisitor &v, ExpertDropout &dropout) {
  v.number("p", dropout.p, 0.0, {0, 1});
  v.choice("at", dropout.at, DropExpertsAt::Before, {"before", "after"});
}

void describeLevels(FieldVisitor &v, RouterSpec &router) {
  size_t count = v.enterList("levels", router.levels.size());
  if (count == 0)
    return;
  router.levels.resize(count);
  for (size_t i = 0; i < count; ++i) {
    v.enterItem(i);
    describeRouter(v, router.levels[i], true);
    v.leave();
  }
  v.leave();
}

void describeTransforms(FieldVisitor &v, RouterSpec &router) {
  size_t count = v.enterList("transform", router.transform.size());
  if (count == 0)
    return;
  router.transform.resize(count);
  for (size_t i = 0; i < count; ++i) {
    v.enterItem(i);
    describeTransform(v, router.transform[i]);
    v.leave();
  }
  v.leave();
}

} // namespace

bool takesTopK(RouterKind kind) {
  return kind == RouterKind::TokenChoice || kind == RouterKind::Table || kind == RouterKind::Random ||
         kind == RouterKind::External || kind == RouterKind::ProductKey;
}

void describeRouter(FieldVisitor &v, RouterSpec &router, bool level) {
  if (level)
    v.integer("count", router.count, 0, {1, maxExperts}, Need::Required);
  v.choice("kind", router.kind, RouterKind::TokenChoice, routerKindWords);
  v.block("input", router.input, describeInput);
  v.flag("bias", router.bias, false);
  v.choice("logit_dtype", router.logitDType, LogitDType::Activation, {"activation", "f32"});
  describeTransforms(v, router);
  v.block("noise", router.noise, describeNoise);
  v.choice("score", router.score, Score::Softmax,
           {"softmax", "sigmoid", "sqrtsoftplus", "softplus", "relu", "identity"});
  v.choice("score_over", router.scoreOver, ScoreOver::All, {"all", "selected"});
  v.flag("choice_bias", router.choiceBias, false);
  v.optionalBlock("groups", router.groups, describeGroups);
  v.optionalBlock("token_groups", router.tokenGroups, describeTokenGroups);
  v.topK("top_k", router.select);
  if (v.enter("select", Presence::Always)) {
    describeSelect(v, router.select, takesTopK(router.kind));
    v.leave();
  }
  v.block("normalize", router.normalize, describeNormalize);
  v.integer("vocab", router.vocab, 0, {0, maxVocab});
  v.integer("slots", router.slots, 1, {1, maxExperts});
  v.choice("scope", router.scope, SelectScope::Sequence, scopeWords);
  v.choice("combine_weights", router.combineWeights, CombineWeights::Own, {"own", "dispatch"});
  if (!level)
    describeLevels(v, router);
  v.block("random_replace", router.randomReplace, describeReplace);
  v.block("expert_dropout", router.expertDropout, describeExpertDropout);
  v.choice("unselected", router.unselected, Unselected::Zero, {"zero", "identity"});
  v.number("scale", router.scale, 1.0, {-big, big});
  v.flag("global_scale", router.globalScale, false);
  v.flag("expert_scale", router.expertScale, false);
  v.choice("weight_dtype", router.weightDType, WeightDType::F32, {"f32", "activation"});
  v.choice("weight_mode", router.weightMode, WeightMode::Gathered, {"gathered", "one", "mean"});
  v.flag("straight_through", router.straightThrough, false);
  v.optionalInteger("k_override", router.kOverride, {1, maxChoices});
}

} // namespace moec
