// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Building blocks of families: groups of keys that several families share. Private to dsl/import/*.cpp.

#ifndef MOEC_DSL_IMPORT_IMPORTPIECES_H
#define MOEC_DSL_IMPORT_IMPORTPIECES_H

#include "dsl/import/ImportState.h"

namespace moec::families {

using I = ImportState;

void experts(I &i, Keys count, Keys width);
void topK(I &i, Keys keys = {"num_experts_per_tok"});
void sumNorm(I &i, double eps = 0, const char *mode = "");
// As norm_topk_prob says, which is required; `above1`: weights of a single choice are never divided.
void sumNormIfAsked(I &i, double eps = 0, bool above1 = false);
void groups(I &i, const char *score);
// Families that divide the weights whatever norm_topk_prob says.
void alwaysSum(I &i, double eps = 0);
// gpt_oss's choices and experts; `gate` and `up` are their parts of the tensor that holds both.
void clampedExperts(I &i, const char *gate, const char *up);
// The type of the logits, where the config gives one.
void routerDtype(I &i);
// scoring_func if the config has it, otherwise the family's.
void score(I &i, const char *family, Keys keys = {"scoring_func"});
void mlpExperts(I &i);
struct BlockNames {
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";
};
// True: the layer has them.
bool wideShared(I &i, Keys count, const std::string &stem, Keys width = {"moe_intermediate_size"},
                BlockNames names = {});
// A clamp of the branches of `block`, experts or shared, where the layer's entry of `key` is above 0.
void limit(I &i, const std::string &block, const char *key, const char *at = "pre_act");
// An RMS norm at `path` with a learned factor; `eps` is the config's key.
void rmsNorm(I &i, const std::string &path, const char *role, const std::string &tensor, const char *eps);
// Soft caps of Kimi's activation "situ".
void situ(I &i, const std::string &block);
void gatedShared(I &i);
void f32Logits(I &i);
// Logits in f32 of a matrix that the checkpoint or the published code keeps in f32, whatever type the experts have.
void f32Gate(I &i);
// Refuses the config unless `key` has the published value: other values change the layer in a way no rule describes.
void refuseUnless(I &i, const char *key, const Json &published, const char *why);
void keptRatios(I &i, const char *key); // says that weights are not divided by their sum
// Completes the spec with what all families share.
void finish(I &i);

// Families, named after the first published model; ImportFamilies.cpp lists their model types.
void mixtral(I &i);
void minimaxM2(I &i);
void phi(I &i);
void arctic(I &i);
void qwen2(I &i);
void qwen3(I &i);
void qwen3Omni(I &i);
void qwen3Next(I &i);
void qwen35(I &i);
void qwen3Vl(I &i);
void olmoe(I &i);
void jamba(I &i);
void dbrx(I &i);
void granite(I &i);
void jetmoe(I &i);
void aria(I &i);
void gptOss(I &i);
void llama4(I &i);
void grok1(I &i);
void deepseekV1(I &i);
void deepseekV2(I &i);
void deepseekV3(I &i);
void dots(I &i);
void horizon(I &i);
void axk2(I &i);
void mimo(I &i);
void exaone(I &i);
void step(I &i);
void deepseekV4(I &i);
void lfm2(I &i);
void afmoe(I &i);
void bailing(I &i);
void ernie(I &i);
void hunyuan(I &i);
void longcat(I &i);
void nemotron(I &i);
void gemma4(I &i);
void klear(I &i);
void switchTransformers(I &i);
void nllb(I &i);
void doge(I &i);
void ernieVl(I &i);
void internPro(I &i);
void panguPro(I &i);
void inkling(I &i);
void kimiLinear(I &i);
void hunyuanV3(I &i);
void laguna(I &i);
void cohere2(I &i);
void mistral4(I &i);
void mistralLarge4(I &i);
void beam(I &i);
void sarvamMoe(I &i);
void sarvamMla(I &i);
void param2(I &i);
void pangu(I &i);
void bailingHybrid(I &i);
void alice(I &i);
void gigaChat(I &i);
void flint(I &i);
void kolibri(I &i);
void laraMini(I &i);
void dotsVision(I &i);
void qwen4(I &i);
void llada(I &i);
void miniCpm(I &i);
void xverse(I &i);
void iquest(I &i);
void step3(I &i);
void privacyFilter(I &i);
void moondream(I &i);
void nomicBert(I &i);
void smallThinker(I &i);
void glm5Next(I &i);
void hunyuanV4(I &i);
void minimaxM3(I &i);
void museSpark(I &i);
void axk1(I &i);
void inkling2(I &i);

} // namespace moec::families

#endif
