// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// F2: row ops -> row programs.
//
// Every op has a level; two row ops of the same rows and the same level have no stage between them, so that moving them
// together cannot make a cycle:
//
//   level(row op) = max over operands: level(def) for row ops of the same rows, level(def) + 1 for everything else
//   level(stage)  = max over operands: level(def)
//
// An op without operands is cloned for each of its users and stands beside it: its rows are never stored.
//
// Ops that serve other reports (ReportUse.h) keep apart: no call does the work of a report that it does not ask for.

#include "codegen/moe/FuseStages.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/ReportUse.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

using GroupKey = std::tuple<void *, uint32_t, unsigned>; // rows, reports that are served, level
using Groups = llvm::MapVector<GroupKey, SmallVector<Operation *>>;

bool isSource(Operation *op) { return isRowOp(op) && op->getNumOperands() == 0; }

// Every source of a row op gets one user. Stages and the layer's results keep theirs.
void cloneSources(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block.without_terminator())) {
    if (!isSource(&op))
      continue;
    for (OpOperand &use : llvm::make_early_inc_range(op.getUses()))
      if (isRowOp(use.getOwner()) && !op.hasOneUse()) {
        Operation *copy = OpBuilder(use.getOwner()).clone(op);
        use.set(copy->getResult(0));
      }
    if (op.use_empty())
      op.erase();
  }
}

// Whether `op` goes into the program of its user.
bool followsUser(Operation *op) { return isSource(op) && op->hasOneUse() && isRowOp(*op->user_begin()); }

Groups groupRowOps(Block &block, const ReportUse &reports) {
  DenseMap<Operation *, unsigned> levels;
  Groups groups;
  for (Operation &op : block.without_terminator()) {
    if (followsUser(&op))
      continue;
    bool row = isRowOp(&op);
    void *space = row ? rowSpaceOf(op.getResult(0)).getAsOpaquePointer() : nullptr;
    uint32_t report = reports.askedBy(&op);
    unsigned level = 0;
    for (Value operand : op.getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (!def || followsUser(def))
        continue;
      bool together = isRowOp(def) && rowSpaceOf(operand).getAsOpaquePointer() == space &&
                      reports.askedBy(def) == report;
      level = std::max(level, levels[def] + (row && !together));
    }
    levels[&op] = level;
    for (Value operand : op.getOperands())
      if (Operation *def = operand.getDefiningOp(); def && followsUser(def))
        groups[{space, report, level}].push_back(def);
    if (row)
      groups[{space, report, level}].push_back(&op);
  }
  return groups;
}

LogicalResult checkMember(Operation *op) {
  auto map = dyn_cast<MapOp>(op);
  for (unsigned i = 0; map && i < map.getInputs().size(); ++i)
    if (kindAt(map.getKinds(), i) == OperandKind::col &&
        cast<RankedTensorType>(map.getInputs()[i].getType()).getRank() == 2)
      return op->emitOpError("F2: operand ")
             << i << " has columns per group, which only the epilogue of a matmul of that route can use";
  return success();
}

void formProgram(ArrayRef<Operation *> members, Block &block, std::vector<FusionNote> &notes) {
  llvm::SetVector<Value> inputs;
  SmallVector<Value> outputs;
  llvm::SmallPtrSet<Operation *, 16> inside(members.begin(), members.end());
  std::string names;
  for (Operation *op : members) {
    names += (names.empty() ? "" : ", ") + op->getName().stripDialect().str();
    for (Value operand : op->getOperands())
      if (!operand.getDefiningOp() || !inside.contains(operand.getDefiningOp()))
        inputs.insert(operand);
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !inside.contains(user); }))
        outputs.push_back(result);
  }
  notes.push_back({"F2", names + ": one row program"});
  if (RowSpace space = rowSpaceOf(members.front()->getResult(0))) // kernels need the route to know how many rows there are
    inputs.insert(space);
  OpBuilder builder(block.getTerminator());
  Location loc = members.front()->getLoc();
  SmallVector<Type> types;
  for (Value output : outputs)
    types.push_back(output.getType());
  auto program = RowProgramOp::create(builder, loc, types, inputs.getArrayRef());
  Block *body = builder.createBlock(&program.getBody());
  IRMapping mapping;
  for (Value input : inputs)
    mapping.map(input, body->addArgument(input.getType(), loc));
  for (Operation *op : members)
    builder.clone(*op, mapping);
  SmallVector<Value> yielded;
  for (Value output : outputs)
    yielded.push_back(mapping.lookup(output));
  YieldOp::create(builder, loc, yielded);
  for (auto [output, result] : llvm::zip_equal(outputs, program.getResults()))
    output.replaceUsesWithIf(result, [&](OpOperand &use) { return !inside.contains(use.getOwner()); });
  for (Operation *op : llvm::reverse(members))
    op->erase();
}

} // namespace

LogicalResult formRowPrograms(func::FuncOp layer, std::vector<FusionNote> &notes) {
  Block &block = layer.getBody().front();
  for (Operation &op : block)
    if (failed(checkMember(&op)))
      return failure();
  cloneSources(block);
  for (auto &[key, members] : groupRowOps(block, ReportUse(layer))) {
    formProgram(members, block, notes);
  }
  sortTopologically(&block);
  return success();
}

} // namespace moec
