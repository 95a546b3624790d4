// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> what of it is not built. Walks every field, so that nothing is ignored.
//
// Accepted without effect on a forward pass: losses, update, frozen, jitter, noise with when: train, random_replace and
// dropout without eval: scale act in training only; causal is a promise that token choice keeps.

#include "codegen/moe/BuildLayer.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

namespace moec {

namespace {

constexpr int64_t maxRouterRows = 4096, maxChoices = 64;

class RefusalWalk {
public:
  explicit RefusalWalk(const LayerSpec &spec) : spec(spec) {}
  std::vector<Refusal> run() {
    checkTypes();
    checkRouter();
    checkSelection();
    checkExperts();
    checkShared();
    checkRest();
    return std::move(refusals);
  }

private:
  const LayerSpec &spec;
  std::vector<Refusal> refusals;

  void refuse(bool found, const char *path, const llvm::Twine &message, const llvm::Twine &hint) {
    if (found)
      refusals.push_back({"E-UNSUPPORTED", path, message.str(), hint.str()});
  }
  void refuseType(DataType type, const char *path) {
    refuse(type != DataType::F32 && type != DataType::BF16 && type != DataType::F16, path,
           llvm::Twine(path) + " " + std::string(dataTypeName(type)) + " is not built; f32, bf16 and f16 are", "use bf16");
  }
  void checkTypes();
  void checkRouter();
  void checkSelection();
  void checkExperts();
  void checkShared();
  void checkRest();
};

void RefusalWalk::checkTypes() {
  refuseType(spec.dtype.activation, "dtype.activation");
  refuseType(spec.dtype.weight, "dtype.weight");
  refuseType(spec.dtype.output, "dtype.output");
  refuse(spec.dtype.accumulate != DataType::F32, "dtype.accumulate",
         llvm::Twine("dtype.accumulate ") + std::string(dataTypeName(spec.dtype.accumulate)) +
             " is not built; sums are f32",
         "leave it out");
  refuse(spec.inputs.tokenIds || spec.inputs.expertIds || spec.inputs.groupIds, "inputs",
         "external inputs besides x are not built", "use router.kind token_choice");
}

void RefusalWalk::checkRouter() {
  const RouterSpec &router = spec.router;
  refuse(router.kind != RouterKind::TokenChoice, "router.kind", "of router.kind only token_choice is built",
         "use token_choice");
  refuse(router.input.from != BranchInput::X, "router.input.from", "a router that reads the residual is not built",
         "use from: x");
  for (size_t i = 0; i < router.transform.size(); ++i)
    refuse(router.transform[i].op == TransformOp::Cosine, ("router.transform[" + std::to_string(i) + "].op").c_str(),
           "cosine logits are not built; clamp, softcap and temperature are", "use temperature");
  refuse(router.noise.kind != NoiseKind::None && router.noise.when == NoiseWhen::Always, "router.noise.when",
         "noise outside of training is not built", "use when: train");
  refuse(router.slots != 1, "router.slots", "soft routing with slots is not built", "use router.kind token_choice");
  refuse(router.combineWeights != CombineWeights::Own, "router.combine_weights", "dispatch weights are not built",
         "use own");
  refuse(!router.levels.empty() || router.count != 0, "router.levels", "hierarchical routing is not built",
         "use router.kind token_choice with groups");
  refuse(router.unselected != Unselected::Zero, "router.unselected", "identity for unselected tokens is not built",
         "use zero");
  refuse(router.normalize.over != NormalizeOver::Token, "router.normalize.over",
         "normalising over an expert's tokens is not built", "use over: token");
  refuse(router.normalize.kind == NormalizeKind::Lp && router.normalize.p != 1 && router.normalize.p != 2,
         "router.normalize.p", "of the lp norms p = 1 and p = 2 are built", "use p: 1 or p: 2");
}

void RefusalWalk::checkSelection() {
  const RouterSpec &router = spec.router;
  const RouterSelect &select = router.select;
  refuse(select.kind != SelectKind::TopK, "router.select.kind", "of router.select.kind only topk is built", "use topk");
  refuse(select.tokens || select.capacityFactor || select.scope != SelectScope::Batch, "router.select.tokens",
         "selection of tokens by experts is not built", "use select.kind topk");
  refuse(spec.choices() > maxChoices, "router.select.k",
         "k (" + llvm::Twine(spec.choices()) + ") is larger than " + llvm::Twine(maxChoices) + ", the largest built",
         "choose a smaller k");
  refuse(router.groups && router.groups->keep > maxChoices, "router.groups.keep",
         "router.groups.keep (" + llvm::Twine(router.groups ? router.groups->keep : 0) + ") is larger than " +
             llvm::Twine(maxChoices) + ", the largest built",
         "keep fewer groups");
  refuse(spec.routerRows() > maxRouterRows, "experts.count",
         "the router has " + llvm::Twine(spec.routerRows()) + " rows, at most " + llvm::Twine(maxRouterRows) +
             " are built",
         "choose fewer experts");
}

void RefusalWalk::checkExperts() {
  const ExpertsSpec &experts = spec.experts;
  refuse(experts.zero && experts.zero->kind == ZeroKind::Constant, "experts.zero.kind",
         "constant experts are not built; identity and zero are", "use identity");
  refuse(experts.heterogeneous(), "experts.intermediate", "experts of different width are not built",
         "give one width for all experts");
  refuse(experts.clamp && experts.form != ExpertForm::Glu, "experts.clamp", "a clamp is built for form glu only",
         "use form: glu");
  refuse(experts.normOut, "experts.norm_out", "LayerNorm on the expert output is not built", "leave it out");
  refuse(experts.lora && experts.lora->at != LoraAt::Parallel, "experts.lora.at",
         "lora per matrix is not built; parallel is", "use at: parallel");
  refuse(experts.quant.kind != QuantKind::None, "experts.quant.kind", "quantised experts are not built",
         "use quant.kind none and dtype.weight bf16");
}

void RefusalWalk::checkShared() {
  if (!spec.shared)
    return;
  refuse(spec.shared->count > maxChoices, "shared.count",
         "shared.count (" + llvm::Twine(spec.shared->count) + ") is larger than " + llvm::Twine(maxChoices) +
             ", the largest built",
         "use one wide block, count 1");
  refuse(spec.shared->gate == SharedGate::Softmax2, "shared.gate", "of shared.gate none and sigmoid are built",
         "use sigmoid");
  refuse(spec.shared->input != BranchInput::X, "shared.input", "a shared expert that reads the residual is not built",
         "use input: x");
}

void RefusalWalk::checkRest() {
  refuse(bool(spec.capacity), "capacity", "a capacity is not built; every choice reaches its expert", "leave it out");
  refuse(!spec.combine.accumulateF32 && spec.dtype.activation != DataType::F32, "combine.accumulate",
         "sums over choices in the activation type are not built", "use accumulate: f32");
  refuse(spec.layer.wrap != LayerWrap::None, "layer.wrap", "of layer.wrap only none is built", "leave it out");
  refuse(spec.layer.residual, "layer.residual", "a residual inside the layer is not built", "add x outside");
  refuse(spec.passes.backward || spec.passes.backwardInput, "passes", "of passes only forward is built",
         "use passes: [forward]");
}

} // namespace

std::vector<Refusal> refusalsOf(const LayerSpec &spec) { return RefusalWalk(spec).run(); }

} // namespace moec
