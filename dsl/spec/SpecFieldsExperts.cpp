// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys of `experts` and `shared`, in canonical order.

#include "dsl/spec/SpecFields.h"

namespace moec {

const WordList formWords = {"glu", "mlp", "linear"};
const WordList activationWords = {"silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "identity"};
const WordList normKindWords = {"rms", "layernorm"};
const WordList quantKindWords = {"none", "fp8_block", "mxfp4", "nvfp4", "int8", "int4_group"};

namespace {

constexpr double big = 1e30;

void describeZero(FieldVisitor &v, ZeroExperts &zero) {
  v.integer("count", zero.count, 0, {1, maxExperts}, Need::Required);
  v.choice("kind", zero.kind, ZeroKind::Identity, {"identity", "zero", "constant"});
}

void describeClamp(FieldVisitor &v, ExpertClamp &clamp) {
  v.number("limit", clamp.limit, 0.0, {0, big, true}, Need::Required);
  v.choice("at", clamp.at, ClampAt::PreAct, {"pre_act", "post_act"});
}

void describeSoftCaps(FieldVisitor &v, SoftCaps &caps) {
  v.optionalNumber("gate", caps.gate, {0, big, true});
  v.optionalNumber("up", caps.up, {0, big, true});
}

void describeBias(FieldVisitor &v, ExpertBias &bias) {
  v.flag("in", bias.in, false);
  v.flag("out", bias.out, false);
}

void describeLatent(FieldVisitor &v, LatentSpec &latent) {
  v.integer("dim", latent.dim, 0, {1, maxHidden}, Need::Required);
  v.flag("bias", latent.bias, false);
  describeNorm(v, "norm_in", latent.normIn);
  describeNorm(v, "norm_out", latent.normOut);
}

void describeDropout(FieldVisitor &v, DropoutSpec &dropout) {
  v.number("p", dropout.p, 0.0, {0, 1});
  v.wordFlag("eval", dropout.scaleAtEval, false, {"none", "scale"});
}

void describeLora(FieldVisitor &v, LoraSpec &lora) {
  v.integer("rank", lora.rank, 0, {1, maxHidden}, Need::Required);
  v.number("alpha", lora.alpha, 0.0, {0, big, true}, Need::Required);
  v.choice("at", lora.at, LoraAt::Parallel, {"parallel", "per_matrix"});
}

void describeQuant(FieldVisitor &v, QuantSpec &quant) {
  v.choice("kind", quant.kind, QuantKind::None, quantKindWords);
  v.integers("block", quant.block, {1, maxHidden}, false);
  v.dataType("scale_dtype", quant.scaleDType, DataType::F32);
  v.flag("zero_point", quant.zeroPoint, false);
}

void describeFeedForward(FieldVisitor &v, FeedForward &block) {
  v.choice("form", block.form, ExpertForm::Glu, formWords);
  v.activation("act", block.act, block.actName);
  v.number("act_alpha", block.actAlpha, 1.0, {-big, big});
  v.number("up_offset", block.upOffset, 0.0, {-big, big});
  v.optionalBlock("clamp", block.clamp, describeClamp);
  v.optionalBlock("softcap", block.softcap, describeSoftCaps);
  v.block("bias", block.bias, describeBias);
}

void describeNormKeys(FieldVisitor &v, NormSpec &norm) {
  v.requiredChoice("kind", norm.kind, normKindWords);
  v.number("eps", norm.eps, 1e-5, {0, 1});
  v.flag("weight", norm.weight, true);
  v.flag("unit_offset", norm.unitOffset, false);
  v.wordFlag("weight_at", norm.before, false, {"after", "before"});
}

void describeExpertNorm(FieldVisitor &v, NormSpec &norm) {
  describeNormKeys(v, norm);
  v.flag("per_expert", norm.perExpert, true);
}

} // namespace

void describeNorm(FieldVisitor &v, std::string_view key, std::optional<NormSpec> &norm) {
  v.shortBlock(key, norm, describeNormKeys, "kind", normKindWords);
}

void describeExperts(FieldVisitor &v, ExpertsSpec &experts) {
  v.integer("count", experts.count, 0, {1, maxExperts}, Need::Required);
  v.optionalBlock("zero", experts.zero, describeZero);
  v.integers("intermediate", experts.intermediate, {1, maxHidden}, true);
  describeFeedForward(v, experts);
  v.optionalBlock("latent", experts.latent, describeLatent);
  v.integer("layers", experts.layers, 1, {1, 64});
  v.number("output_scale", experts.outputScale, 1.0, {-big, big});
  v.block("hidden_dropout", experts.hiddenDropout, describeDropout);
  v.block("output_dropout", experts.outputDropout, describeDropout);
  v.shortBlock("norm_out", experts.normOut, describeExpertNorm, "kind", normKindWords);
  v.optionalBlock("lora", experts.lora, describeLora);
  v.block("quant", experts.quant, describeQuant);
}

void describeShared(FieldVisitor &v, SharedSpec &shared) {
  v.integer("intermediate", shared.intermediate, 0, {1, maxHidden});
  v.integer("count", shared.count, 1, {1, maxExperts});
  v.choice("reduce", shared.reduce, SharedReduce::Sum, {"sum", "mean"});
  v.choice("gate", shared.gate, SharedGate::None, {"none", "sigmoid", "softmax2", "router"});
  v.number("scale", shared.scale, 1.0, {-big, big});
  describeFeedForward(v, shared);
  v.choice("input", shared.input, BranchInput::X, {"x", "residual"});
}

} // namespace moec
