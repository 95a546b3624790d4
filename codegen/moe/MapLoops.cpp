// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What can be done is done, other ops first: a loop then gets all maps that can be in it.

#include "codegen/moe/MapLoops.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;

namespace moec {

static RankedTensorType runOf(moe::MapOp map) { return cast<RankedTensorType>(map.getResult().getType()); }

bool isRunMap(Operation *op) {
  auto map = dyn_cast<moe::MapOp>(op);
  return map && runOf(map).getRank() == 2;
}

namespace {

class StepOrder {
public:
  StepOrder(Block &body, llvm::function_ref<bool(moe::MapOp, moe::MapOp)> alike) : alike(alike) {
    known.insert_range(body.getArguments());
    for (Operation &op : body.without_terminator())
      open.push_back(&op);
  }

  std::vector<RowStep> run() {
    while (!open.empty()) {
      takeOthers();
      RowStep loop = takeLoop();
      if (!loop.empty())
        steps.push_back(std::move(loop));
    }
    return std::move(steps);
  }

private:
  bool isReady(Operation *op) const {
    return llvm::all_of(op->getOperands(), [&](Value v) { return known.contains(v); });
  }

  void takeOthers() {
    std::vector<Operation *> later;
    for (Operation *op : open) {
      if (isRunMap(op) || !isReady(op)) {
        later.push_back(op);
        continue;
      }
      known.insert_range(op->getResults());
      steps.push_back({op});
    }
    open = std::move(later);
  }

  bool fits(moe::MapOp map, const RowStep &loop) const {
    for (auto [i, input] : llvm::enumerate(map.getInputs())) {
      bool made = llvm::is_contained(loop, input.getDefiningOp());
      if (!known.contains(input) && !(made && moe::kindAt(map.getKinds(), unsigned(i)) == moe::OperandKind::elem))
        return false;
    }
    if (loop.empty())
      return true;
    auto first = cast<moe::MapOp>(loop.front());
    return runOf(map).getDimSize(1) == runOf(first).getDimSize(1) && alike(first, map);
  }

  RowStep takeLoop() {
    RowStep loop;
    std::vector<Operation *> later;
    for (Operation *op : open)
      if (isRunMap(op) && fits(cast<moe::MapOp>(op), loop))
        loop.push_back(op);
      else
        later.push_back(op);
    for (Operation *op : loop)
      known.insert_range(op->getResults());
    open = std::move(later);
    return loop;
  }

  llvm::function_ref<bool(moe::MapOp, moe::MapOp)> alike;
  std::vector<Operation *> open; // in the order of the body
  llvm::DenseSet<Value> known;
  std::vector<RowStep> steps;
};

} // namespace

std::vector<RowStep> rowSteps(Block &body, llvm::function_ref<bool(moe::MapOp, moe::MapOp)> alike) {
  return StepOrder(body, alike).run();
}

} // namespace moec
