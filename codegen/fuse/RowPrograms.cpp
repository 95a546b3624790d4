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
// In a backward pass, where values of forward wait for what comes through the matrices, programs of the same rows are
// joined where all ops of the earlier one can wait for the later one: least(op) raises their level, and with it that of
// everything behind them.
//
// What depends on no value, columns and maps of them, goes along with what uses it.
//
// Ops that serve other reports (ReportUse.h) keep apart: no call does the work of a report that it does not ask for.

#include "codegen/fuse/FuseStages.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/PassArguments.h"
#include "codegen/moe/ReportUse.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

#include <map>
#include <tuple>

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

using GroupKey = std::tuple<void *, uint32_t, unsigned>; // rows, reports that are served, level
using Groups = llvm::MapVector<GroupKey, SmallVector<Operation *>>;

// Row ops that are the same for all tokens: columns, and what is computed of them alone. Each program that uses one
// computes its own, instead of reading a buffer that another one fills.
class OwnConstants {
public:
  llvm::SmallPtrSet<Operation *, 16> originals; // not those made here

  explicit OwnConstants(ArrayRef<Operation *> ops) {
    auto constant = [&](Value operand) { return originals.contains(operand.getDefiningOp()); };
    for (Operation *op : ops)
      if (isa<ColumnsOp>(op) || (isa<MapOp>(op) && llvm::all_of(op->getOperands(), constant)))
        originals.insert(op);
  }

  // Gives `op`, which has token rows, constants of its program `key`; new ones go to `members`.
  void give(Operation *op, const GroupKey &key, SmallVector<Operation *> &members) {
    for (OpOperand &operand : op->getOpOperands())
      if (Operation *def = operand.get().getDefiningOp(); originals.contains(def))
        operand.set(own(def, op, key, members)->getResult(0));
  }

private:
  std::map<std::pair<Operation *, GroupKey>, Operation *> copies;

  Operation *own(Operation *constant, Operation *user, const GroupKey &key, SmallVector<Operation *> &members) {
    if (auto found = copies.find({constant, key}); found != copies.end())
      return found->second;
    SmallVector<Value> operands;
    for (Value operand : constant->getOperands())
      operands.push_back(own(operand.getDefiningOp(), user, key, members)->getResult(0));
    Operation *copy = OpBuilder(user).clone(*constant);
    copy->setOperands(operands);
    members.push_back(copy);
    copies[{constant, key}] = copy;
    return copy;
  }
};

using Levels = DenseMap<Operation *, unsigned>;

// The levels of ops that are in order, none below `least`. Row ops of tokens have copies of their own of `constants`.
Levels levelsOf(ArrayRef<Operation *> ops, const ReportUse &reports,
                const llvm::SmallPtrSetImpl<Operation *> &constants, const Levels &least) {
  Levels levels;
  for (Operation *op : ops) {
    bool row = isRowOp(op);
    void *space = row ? rowSpaceOf(op->getResult(0)).getAsOpaquePointer() : nullptr;
    unsigned level = least.lookup(op);
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (!def || (constants.contains(def) && row && !space)) // it gets a copy
        continue;
      bool together = isRowOp(def) && rowSpaceOf(operand).getAsOpaquePointer() == space &&
                      reports.askedBy(def) == reports.askedBy(op);
      level = std::max(level, levels[def] + (row && !together));
    }
    levels[op] = level;
  }
  return levels;
}

// Joins programs: two of the same rows become one if the ops of the earlier one can wait.
Levels joinedLevels(ArrayRef<Operation *> ops, const ReportUse &reports,
                    const llvm::SmallPtrSetImpl<Operation *> &constants) {
  using Key = std::tuple<unsigned, uint32_t, unsigned>; // rows in the order of their ops, reports, level
  DenseMap<void *, unsigned> numbers;
  auto programs = [&](const Levels &levels) {
    std::map<Key, SmallVector<Operation *>> members;
    for (Operation *op : ops) {
      if (!isRowOp(op) || constants.contains(op))
        continue;
      void *rows = rowSpaceOf(op->getResult(0)).getAsOpaquePointer();
      unsigned number = numbers.try_emplace(rows, unsigned(numbers.size())).first->second;
      members[{number, reports.askedBy(op), levels.lookup(op)}].push_back(op);
    }
    return members;
  };
  Levels least, levels = levelsOf(ops, reports, constants, least);
  auto members = programs(levels);
  for (bool joined = true; joined;) {
    joined = false;
    for (auto first = members.begin(); first != members.end() && !joined; ++first) {
      auto next = std::next(first); // the same rows and reports, the next level
      if (next == members.end() || std::get<0>(first->first) != std::get<0>(next->first) ||
          std::get<1>(first->first) != std::get<1>(next->first))
        continue;
      Levels trial = least;
      for (Operation *op : first->second)
        trial[op] = std::get<2>(next->first);
      Levels raised = levelsOf(ops, reports, constants, trial);
      auto fewer = programs(raised);
      if (fewer.size() >= members.size())
        continue;
      least = std::move(trial), levels = std::move(raised), members = std::move(fewer);
      joined = true;
    }
  }
  return levels;
}

Groups groupRowOps(Block &block, const ReportUse &reports, bool joins) {
  Groups groups;
  SmallVector<Operation *> ops;
  for (Operation &op : block.without_terminator())
    ops.push_back(&op);
  OwnConstants constants(ops);
  llvm::SmallPtrSetImpl<Operation *> &originals = constants.originals;
  Levels levels = joins ? joinedLevels(ops, reports, originals) : levelsOf(ops, reports, originals, Levels());
  for (Operation *op : ops) {
    if (!isRowOp(op) || originals.contains(op))
      continue;
    void *space = rowSpaceOf(op->getResult(0)).getAsOpaquePointer();
    GroupKey key = {space, reports.askedBy(op), levels[op]};
    if (!space)
      constants.give(op, key, groups[key]);
    groups[key].push_back(op);
  }
  for (Operation *op : llvm::reverse(ops))
    if (originals.contains(op) && op->use_empty())
      op->erase(), originals.erase(op);
  for (Operation *op : ops) // ops other than row ops of tokens read the remaining ones
    if (originals.contains(op))
      groups[{nullptr, reports.askedBy(op), 0}].push_back(op);
  return groups;
}

// The group of every row of `route`, [R] i32, at the builder's place; null: it comes from outside the layer.
Value groupOfRows(OpBuilder &builder, Location loc, Value route) {
  auto type = cast<RouteType>(route.getType());
  auto i32 = builder.getI32Type();
  Value ids;
  if (auto dispatch = route.getDefiningOp<DispatchOp>())
    ids = dispatch.getIds();
  if (route.getDefiningOp<SlotsOp>()) {
    SmallVector<int32_t> groups;
    for (int64_t s = 0; s < type.getChoices(); ++s)
      groups.push_back(int32_t(s / (type.getChoices() / type.getGroups())));
    ids = ColumnsOp::create(builder, loc, RankedTensorType::get({ShapedType::kDynamic, type.getChoices()}, i32),
                            builder.getDenseI32ArrayAttr(groups));
  }
  return ids ? GatherOp::create(builder, loc, RankedTensorType::get({ShapedType::kDynamic}, i32), ids, route)
                   .getResult()
             : Value();
}

// Operands with columns per group [G,N], which only epilogues can index, become rows of their table by group.
void lookUpColumns(Block &block) {
  DenseMap<Value, Value> groups; // by route
  for (MapOp map : llvm::to_vector(block.getOps<MapOp>())) {
    RowSpace route = rowSpaceOf(map.getResult());
    SmallVector<OperandKind> kinds;
    for (auto [i, input] : llvm::enumerate(map.getInputs())) {
      auto type = cast<RankedTensorType>(input.getType());
      kinds.push_back(kindAt(map.getKinds(), unsigned(i)));
      bool perGroup = kinds.back() == OperandKind::col && type.getRank() == 2;
      if (!perGroup || !route || !type.getElementType().isF32() || input.getDefiningOp())
        continue;
      if (!groups.count(route)) { // where the route is made, so that later maps find it too
        OpBuilder builder(map.getContext());
        if (Operation *def = route.getDefiningOp())
          builder.setInsertionPointAfter(def);
        groups[route] = route.getDefiningOp() ? groupOfRows(builder, map.getLoc(), route) : Value();
      }
      if (!groups[route])
        continue;
      OpBuilder builder(map);
      auto rows = RankedTensorType::get({ShapedType::kDynamic, type.getDimSize(1)}, type.getElementType());
      map.getInputsMutable()[i].set(LookupOp::create(builder, map.getLoc(), rows, input, groups[route]));
      kinds.back() = OperandKind::elem;
    }
    map.setKindsAttr(kindArray(map.getContext(), kinds));
  }
}

LogicalResult checkMember(Operation *op) {
  auto map = dyn_cast<MapOp>(op);
  for (unsigned i = 0; map && i < map.getInputs().size(); ++i)
    if (kindAt(map.getKinds(), i) == OperandKind::col &&
        cast<RankedTensorType>(map.getInputs()[i].getType()).getRank() == 2)
      return op->emitOpError("F2: operand ")
             << i << " has columns per group of another type than f32, which only the epilogue of a matmul of that "
             << "route can use";
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
  // kernels need the route to know how many rows there are
  if (RowSpace space = rowSpaceOf(members.front()->getResult(0)))
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
  lookUpColumns(block);
  for (Operation &op : block)
    if (failed(checkMember(&op)))
      return failure();
  for (auto &[key, members] : groupRowOps(block, ReportUse(layer), layer->hasAttr(backwardAttr)))
    formProgram(members, block, notes);
  sortTopologically(&block);
  return success();
}

} // namespace moec
