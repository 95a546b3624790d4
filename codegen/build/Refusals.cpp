// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks every field, so that nothing is ignored.
//
// Accepted without effect on a layer that is not trained: losses, update, frozen, jitter, noise with when: train,
// random_replace, expert_dropout, straight_through and dropout without eval: scale; causal is a promise that token
// choice keeps.

#include "codegen/build/Refusals.h"

#include "codegen/build/ExpertClasses.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

namespace moec {

namespace {

// One token's logits, and what is computed of them, stay in the memory of a warp.
constexpr int64_t maxExperts = 4096, maxRouterRows = 5120, maxConstantPairs = 8192, maxChoices = 256;
// Columns of a row, rule L7 of LayerChecks.h.
constexpr int64_t maxSlots = 1 << 20;
// Experts of different width: columns beyond their own, as a share of these.
constexpr double maxPadding = 0.5;

class RefusalWalk {
public:
  explicit RefusalWalk(const LayerSpec &spec) : spec(spec) {}
  std::vector<Diagnostic> run() {
    checkTypes();
    checkRouter();
    checkSelection();
    checkLosses();
    checkExperts();
    checkShared();
    checkRest();
    return std::move(refusals);
  }

private:
  const LayerSpec &spec;
  std::vector<Diagnostic> refusals;

  void refuse(bool found, const char *path, const llvm::Twine &message, const llvm::Twine &hint) {
    if (found)
      refusals.push_back(Diagnostic::error("E-UNSUPPORTED", message.str(), hint.str(), path));
  }
  void refuseType(DataType type, const char *path) {
    refuse(type != DataType::F32 && type != DataType::BF16 && type != DataType::F16, path,
           llvm::Twine(path) + " " + std::string(dataTypeName(type)) + " is not built; f32, bf16 and f16 are",
           "use bf16");
  }
  void checkTypes();
  void checkRouter();
  void checkSelection();
  void checkLosses();
  void checkExperts();
  void checkShared();
  void checkRest();
};

void RefusalWalk::checkTypes() {
  refuseType(spec.dtype.activation, "dtype.activation");
  refuseType(spec.dtype.weight, "dtype.weight");
  if (spec.dtype.router != spec.dtype.weight)
    refuseType(spec.dtype.router, "dtype.router");
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
  refuse(router.kind == RouterKind::Table && !router.vocab, "router.vocab",
         "router.kind table needs router.vocab, the number of rows of router.table", "add \"vocab\" to router");
}

void RefusalWalk::checkSelection() {
  const RouterSpec &router = spec.router;
  refuse(router.groups && router.groups->keep > maxChoices, "router.groups.keep",
         "router.groups.keep (" + llvm::Twine(router.groups ? router.groups->keep : 0) + ") is larger than " +
             llvm::Twine(maxChoices) + ", the largest built",
         "keep fewer groups");
  for (size_t i = 0; i < router.levels.size(); ++i)
    refuse(router.levels[i].select.k > maxChoices, i ? "router.levels[1].select.k" : "router.levels[0].select.k",
           "k (" + llvm::Twine(router.levels[i].select.k) + ") of a level is larger than " + llvm::Twine(maxChoices) +
               ", the largest built",
           "choose a smaller k");
  refuse(spec.experts.count > maxExperts, "experts.count",
         llvm::Twine(spec.experts.count) + " experts are more than the " + llvm::Twine(maxExperts) + " that are built",
         "choose fewer experts");
  refuse(spec.experts.count <= maxExperts && spec.routerRows() > maxRouterRows, "experts.zero.count",
         "the router has " + llvm::Twine(spec.routerRows()) + " rows, at most " + llvm::Twine(maxRouterRows) +
             " are built",
         "choose fewer zero experts");
  int64_t slots = spec.experts.count * router.slots;
  refuse(router.kind == RouterKind::Soft && slots > maxSlots, "router.slots",
         llvm::Twine(spec.experts.count) + " experts of " + llvm::Twine(router.slots) + " slots are " +
             llvm::Twine(slots) + " slots, at most " + llvm::Twine(maxSlots) + " are built",
         "choose fewer slots or experts");
}

// The k + 1 largest logits tell how near an expert was to being chosen.
void RefusalWalk::checkLosses() {
  for (const LossSpec &loss : spec.losses)
    refuse(loss.kind == "cv2" && loss.is("of", "load") && spec.choices() >= maxChoices &&
               spec.experts.count > spec.choices(),
           "losses",
           "cv2 of load with k (" + llvm::Twine(spec.choices()) + ") is not built for k of " + llvm::Twine(maxChoices) +
               " or more",
           "use of: importance, or a smaller k");
}

void RefusalWalk::checkExperts() {
  const ExpertsSpec &experts = spec.experts;
  int64_t pairs = experts.zero && experts.zero->kind == ZeroKind::Constant ? experts.zero->count * spec.choices() : 0;
  refuse(pairs > maxConstantPairs, "experts.zero.count",
         "constant experts times k (" + llvm::Twine(pairs) + ") are more than the " + llvm::Twine(maxConstantPairs) +
             " that are built",
         "choose fewer zero experts, or a smaller k");
  double padded = experts.heterogeneous() ? paddedShare(experts) : 0;
  refuse(padded > maxPadding, "experts.intermediate",
         "experts of these widths would compute " + llvm::Twine(int64_t(padded * 100)) +
             " % of columns that are zero; classes of one width each: " + llvm::Twine(expertClasses(experts).size()),
         "use fewer different widths");
  bool soft = spec.router.kind == RouterKind::Soft;
  for (const char *mask : {"hidden_mask", "output_mask"})
    refuse((mask[0] == 'h' ? spec.takesHiddenMask() : spec.takesOutputMask()) && spec.inputColumns(mask) > maxSlots,
           mask[0] == 'h' ? "experts.hidden_dropout.p" : "experts.output_dropout.p",
           llvm::Twine("the mask of this dropout has ") + llvm::Twine(spec.inputColumns(mask)) + " values per " +
               (soft ? "slot" : "token") + ", at most " + llvm::Twine(maxSlots) + " are built",
           soft ? "leave it out, or choose narrower experts" : "leave it out, or choose fewer experts per token");
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
  int64_t rows = spec.routerRows() + spec.sharedRows();
  refuse(spec.routerRows() <= maxRouterRows && rows > maxRouterRows, "shared.count",
         "the router has " + llvm::Twine(rows) + " rows with those of shared experts, at most " +
             llvm::Twine(maxRouterRows) + " are built",
         "choose fewer shared experts");
}

void RefusalWalk::checkRest() {
  refuse(!spec.combine.accumulateF32 && spec.dtype.activation != DataType::F32, "combine.accumulate",
         "sums over choices in the activation type are not built", "use accumulate: f32");
}

} // namespace

std::vector<Diagnostic> refusalsOf(const LayerSpec &spec) { return RefusalWalk(spec).run(); }

} // namespace moec
