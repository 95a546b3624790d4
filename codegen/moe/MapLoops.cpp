// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The order of the body, except for what costs no memory before its turn: ops that make scalars, and maps whose runs
// only a loop reads.

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

  static bool makesRun(Operation *op) {
    return llvm::any_of(op->getResultTypes(), [](Type type) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      return tensor && tensor.getRank() == 2;
    });
  }

  // Other ops in their turn, and before it what makes scalars: those take no memory.
  void takeOthers() {
    std::vector<Operation *> later;
    for (Operation *op : open) {
      if (isRunMap(op) || !isReady(op) || (makesRun(op) && !later.empty())) {
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

  // All maps that fit, without those that would only lie in memory for longer than in the order of the body.
  RowStep takeLoop() {
    RowStep loop;
    for (Operation *op : open)
      if (isRunMap(op) && fits(cast<moe::MapOp>(op), loop))
        loop.push_back(op);
    while (removeWaiting(loop)) {
    }
    for (Operation *op : loop)
      known.insert_range(op->getResults());
    llvm::erase_if(open, [&](Operation *op) { return llvm::is_contained(loop, op); });
    return loop;
  }

  // Takes a map out of the loop that comes before its turn and is read behind the loop, or that reads one taken out.
  bool removeWaiting(RowStep &loop) const {
    size_t turn = 0; // of the first op that has to wait for another
    while (turn < open.size() && llvm::is_contained(loop, open[turn]))
      ++turn;
    for (Operation *op : llvm::drop_begin(loop, std::min(std::max<size_t>(turn, 1), loop.size()))) {
      bool waits = llvm::any_of(op->getUsers(), [&](Operation *user) {
        auto reduce = dyn_cast<moe::ReduceOp>(user);
        return !user->hasTrait<OpTrait::IsTerminator>() && !(reduce && !reduce.getSegments()) &&
               !llvm::is_contained(loop, user);
      });
      bool reads = llvm::any_of(op->getOperands(), [&](Value v) {
        return !known.contains(v) && !llvm::is_contained(loop, v.getDefiningOp());
      });
      if (waits || reads) {
        llvm::erase(loop, op);
        return true;
      }
    }
    return false;
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
