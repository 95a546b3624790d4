// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Top-level keys of a spec and its blocks capacity, combine, losses, update, layer and weights, in canonical order.

#include "dsl/spec/SpecFields.h"

#include "dsl/Reports.h"
#include "dsl/spec/SpecPrinter.h"
#include "dsl/text/JsonTree.h"

#include <cstdlib>

namespace moec {

namespace {

constexpr double big = 1e30;
const WordList scopeWords = {"batch", "sequence"};

// A loss keeps options as text; these show one option and store it again when it differs from its default.
struct LossOptions {
  FieldVisitor &v;
  std::map<std::string, std::string> &options;

  void word(const char *key, const WordList &words) {
    int value = 0;
    if (auto found = options.find(key); found != options.end())
      for (size_t i = 0; i < words.size(); ++i)
        if (found->second == "\"" + std::string(words[i]) + "\"")
          value = int(i);
    v.word(key, value, 0, words);
    store(key, value != 0, "\"" + std::string(words[value]) + "\"");
  }
  void flag(const char *key) {
    auto found = options.find(key);
    bool value = found != options.end() && found->second == "true";
    v.flag(key, value, false);
    store(key, value, "true");
  }
  void integer(const char *key, int64_t fallback, IntRange range) {
    int64_t value = fallback;
    if (auto found = options.find(key); found != options.end())
      value = std::strtoll(found->second.c_str(), nullptr, 10);
    v.integer(key, value, fallback, range);
    store(key, value != fallback, std::to_string(value));
  }
  void number(const char *key, double fallback, NumberRange range) {
    double value = fallback;
    if (auto found = options.find(key); found != options.end())
      value = doubleOf(found->second).value_or(fallback);
    v.number(key, value, fallback, range);
    store(key, value != fallback, printNumber(value));
  }
  void store(const char *key, bool differs, std::string text) {
    if (differs)
      options[key] = std::move(text);
    else
      options.erase(key);
  }
};

void describeExternalInputs(FieldVisitor &v, ExternalInputs &inputs) {
  v.flag("token_ids", inputs.tokenIds, false);
  v.flag("expert_ids", inputs.expertIds, false);
  v.flag("group_ids", inputs.groupIds, false);
  v.flag("top_k", inputs.topK, false);
}

void describeCombine(FieldVisitor &v, CombineSpec &combine) {
  v.choice("apply", combine.apply, CombineApply::Output, {"output", "input"});
  v.flag("bias", combine.bias, false);
  bool narrow = !combine.accumulateF32;
  v.wordFlag("accumulate", narrow, false, {"f32", "activation"});
  combine.accumulateF32 = !narrow;
  bool rounded = !combine.rowsF32;
  v.wordFlag("rows", rounded, false, {"f32", "activation"});
  combine.rowsF32 = !rounded;
  describeNorm(v, "norm_out", combine.normOut);
}

void describeUpdate(FieldVisitor &v, UpdateSpec &update) {
  int kind = 0;
  v.word("kind", kind, -1, {"bias_sign"}, Need::Required);
  update.kind = "bias_sign";
  v.number("rate", update.rate, 0.0, {0, big}, Need::Required);
}

void describeDense(FieldVisitor &v, DenseSpec &dense) {
  v.integer("intermediate", dense.intermediate, 0, {1, maxHidden});
  v.choice("form", dense.form, ExpertForm::Glu, formWords);
  v.activation("act", dense.act, dense.actName);
}

void describePasses(FieldVisitor &v, Passes &passes) {
  unsigned bits = passes.forward | passes.backward << 1 | passes.backwardInput << 2;
  v.wordSet("passes", bits, 1, {"forward", "backward", "backward_input"});
  passes.forward = bits & 1;
  passes.backward = bits >> 1 & 1;
  passes.backwardInput = bits >> 2 & 1;
}

void describeStorage(FieldVisitor &v, WeightStorage &storage) {
  v.text("tensor", storage.tensor, Need::Required);
  // The default depends on the role, so a stack that is written stays written.
  int stack = storage.stack ? int(*storage.stack) : -1;
  v.word("stack", stack, -1, {"single", "per_expert", "stacked", "flat_rows", "interleaved_columns"});
  if (stack >= 0)
    storage.stack = StackKind(stack);
  v.choice("axes", storage.axes, AxesKind::OutIn, {"out_in", "in_out"});
  v.choice("part", storage.part, PartKind::All, {"all", "first_half", "second_half", "even", "odd"});
}

void describeLosses(FieldVisitor &v, LayerSpec &spec) {
  size_t count = v.enterList("losses", spec.losses.size());
  if (count == 0)
    return;
  spec.losses.resize(count);
  for (size_t i = 0; i < count; ++i) {
    v.enterItem(i);
    describeLoss(v, spec.losses[i]);
    v.leave();
  }
  v.leave();
}

void describeWeights(FieldVisitor &v, LayerSpec &spec) {
  std::vector<std::string> roles;
  for (const auto &entry : spec.weights)
    roles.push_back(entry.first);
  roles = v.enterMap("weights", roles);
  if (roles.empty())
    return;
  for (const std::string &role : roles)
    if (v.enter(role, Presence::Present)) {
      describeStorage(v, spec.weights[role]);
      v.leave();
    }
  v.leave();
}

} // namespace

void describeCapacity(FieldVisitor &v, CapacitySpec &capacity) {
  v.choice("mode", capacity.mode, CapacityMode::Fixed, {"fixed", "factor", "fraction", "dynamic"});
  v.number("value", capacity.value, 0.0, {0, double(maxTokensTaken)});
  v.flag("per_choice", capacity.perChoice, true);
  v.choice("round", capacity.round, CapacityRound::Ceil, {"floor", "ceil", "nearest"});
  v.integer("min", capacity.min, 0, {0, maxTokensTaken});
  v.choice("scope", capacity.scope, CapacityScope::Batch, {"batch", "sequence", "group"});
  v.integer("group_size", capacity.groupSize, 0, {1, maxTokensTaken});
  v.choice("order", capacity.order, CapacityOrder::Token, {"token", "score", "random", "largest_per_expert"});
  v.choice("major", capacity.major, CapacityMajor::Choice, {"choice", "token"});
  v.choice("overflow", capacity.overflow, Overflow::Drop, {"drop", "next_best"});
  v.choice("dropped", capacity.dropped, Dropped::Zero, {"zero", "identity"});
  v.choice("normalize_at", capacity.normalizeAt, NormalizeAt::Before, {"before", "after"});
  v.optionalInteger("max", capacity.max, {1, maxTokensTaken});
}

void describeLoss(FieldVisitor &v, LossSpec &loss) {
  static const WordList kinds = {"load_balance",  "z", "cv2", "entropy", "uniform_mse", "importance_x_load",
                                 "count_variance"};
  int kind = 0;
  for (size_t i = 0; i < kinds.size(); ++i)
    if (loss.kind == kinds[i])
      kind = int(i);
  v.word("kind", kind, -1, kinds, Need::Required);
  loss.kind = kinds[kind];
  v.number("coef", loss.coef, 0.0, {-big, big});
  LossOptions options{v, loss.options};
  if (loss.kind == "load_balance") {
    options.word("probs", {"softmax_all", "normalized_score"});
    options.flag("per_choice");
    options.word("count", {"all", "first"});
    options.word("scope", scopeWords);
    options.flag("dropped_as_expert0");
    options.integer("groups", 1, {1, maxExperts});
  } else if (loss.kind == "cv2") {
    options.word("of", {"importance", "load", "counts"});
    options.word("variance", {"population", "sample"});
    options.number("eps", 1e-10, {0, 1});
  } else if (loss.kind == "entropy") {
    options.word("of", {"token", "marginal"});
    options.number("eps", 1e-10, {0, 1});
  } else if (loss.kind == "uniform_mse") {
    options.word("reduce", {"sum", "mean"});
    options.word("over", {"all", "selected"});
  }
}

void describeWrap(FieldVisitor &v, WrapSpec &layer) {
  v.choice("wrap", layer.wrap, LayerWrap::None, {"none", "depth", "conditional", "skip"});
  v.optionalInteger("tokens", layer.tokens, {1, maxTokensTaken});
  v.optionalNumber("capacity", layer.capacity, {0, 1, true});
  v.choice("scope", layer.scope, SelectScope::Sequence, scopeWords);
  v.flag("residual", layer.residual, false);
  v.number("threshold", layer.threshold, 0.5, {0, 1});
  v.optionalBlock("dense", layer.dense, describeDense);
}

void describeSpec(FieldVisitor &v, LayerSpec &spec) {
  int64_t version = 1;
  v.integer("moec", version, 0, {1, 1}, Need::Required);
  v.text("name", spec.name);
  v.integer("hidden", spec.hidden, 0, {1, maxHidden}, Need::Required);
  v.dataTypes("dtype", spec.dtype);
  v.block("inputs", spec.inputs, describeExternalInputs);
  v.flag("causal", spec.causal, false);
  if (v.enter("router", Presence::Always)) {
    describeRouter(v, spec.router, false);
    v.leave();
  }
  if (v.enter("experts", Presence::Always)) {
    describeExperts(v, spec.experts);
    v.leave();
  }
  v.optionalBlock("shared", spec.shared, describeShared);
  v.optionalBlock("capacity", spec.capacity, describeCapacity);
  v.block("combine", spec.combine, describeCombine);
  describeLosses(v, spec);
  v.wordsOrAll("reports", spec.reports, reportNames());
  v.optionalBlock("update", spec.update, describeUpdate);
  v.block("layer", spec.layer, describeWrap);
  describePasses(v, spec.passes);
  v.choice("save", spec.save, Save::All, {"all", "inputs", "ids"});
  v.texts("frozen", spec.frozen);
  describeWeights(v, spec);
}

} // namespace moec
