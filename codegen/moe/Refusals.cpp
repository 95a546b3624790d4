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
}

void RefusalWalk::checkRouter() {
  const RouterSpec &router = spec.router;
  refuse(router.kind == RouterKind::Depth, "router.kind", "router.kind depth is not built; layer.wrap depth is",
         "use layer.wrap depth around the experts");
  refuse(router.kind == RouterKind::ProductKey, "router.kind", "router.kind product_key is not built",
         "use token_choice");
  refuse(router.kind == RouterKind::Table && !router.vocab, "router.vocab",
         "router.kind table needs router.vocab, the number of rows of router.table", "add \"vocab\" to router");
}

void RefusalWalk::checkSelection() {
  const RouterSpec &router = spec.router;
  bool ranked = router.kind == RouterKind::TokenChoice;
  refuse(ranked && spec.choices() > maxChoices, "router.select.k",
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
  refuse(experts.normOut && spec.router.kind == RouterKind::Soft, "experts.norm_out",
         "LayerNorm on the expert output is not built for soft routing", "leave it out");
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
}

void RefusalWalk::checkRest() {
  refuse(!spec.combine.accumulateF32 && spec.dtype.activation != DataType::F32, "combine.accumulate",
         "sums over choices in the activation type are not built", "use accumulate: f32");
  refuse(spec.passes.backward || spec.passes.backwardInput, "passes", "of passes only forward is built",
         "use passes: [forward]");
}

} // namespace

std::vector<Refusal> refusalsOf(const LayerSpec &spec) { return RefusalWalk(spec).run(); }

} // namespace moec
