// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// F1, F3, F4 and F5, and the order of all rules; F2 is RowPrograms.cpp.

#include "codegen/fuse/FuseStages.h"

#include "codegen/fuse/RegionFusion.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/LayerIdentity.h"
#include "codegen/moe/PassArguments.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

StringRef roleOfArgument(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  auto function = argument ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp()) : func::FuncOp();
  auto role = function ? function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "moe.role") : StringAttr();
  return role ? role.getValue() : "value";
}

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

// Whether operand i of a map may become an operand of an epilogue: rows with groups have columns [G,N], others [N].
// A route with one group takes both.
bool fitsEpilogue(MapOp map, unsigned i, bool routed, bool oneGroup = false) {
  if (!isa<FloatType>(typeOf(map.getInputs()[i]).getElementType()))
    return false; // masks and ids stay with the row ops
  switch (kindAt(map.getKinds(), i)) {
  case OperandKind::elem:
  case OperandKind::row:
  case OperandKind::scalar:
    return true;
  case OperandKind::col:
    return typeOf(map.getInputs()[i]).getRank() == (routed ? 2 : 1) || (routed && oneGroup);
  case OperandKind::segment:
    return false;
  }
  return false;
}

bool othersFit(MapOp map, unsigned index, bool routed) {
  if (typeOf(map).getRank() != 2 || !isa<FloatType>(typeOf(map).getElementType()))
    return false;
  for (unsigned i = 0; i < map.getInputs().size(); ++i)
    if (i != index && !fitsEpilogue(map, i, routed))
      return false;
  return true;
}

// ---- F1 ---------------------------------------------------------------------------------------------------------

// The plain single matmul that `value` comes from, directly or through maps of one elem operand each.
GroupedMatmulOp matmulBehind(Value value, unsigned depth = 0) {
  if (!hasOneUse(value) || depth > 8)
    return {};
  if (auto matmul = value.getDefiningOp<GroupedMatmulOp>())
    return matmul.parts() == 1 && matmul.getEpilogue().empty() && matmul.getPrologue().empty() ? matmul
                                                                                               : GroupedMatmulOp();
  auto map = value.getDefiningOp<MapOp>();
  GroupedMatmulOp found;
  for (unsigned i = 0; map && i < map.getInputs().size(); ++i)
    if (kindAt(map.getKinds(), i) == OperandKind::elem) {
      if (found)
        return {};
      found = matmulBehind(map.getInputs()[i], depth + 1);
      if (!found)
        return {};
    }
  return found;
}

// `map` with the map behind operand `index` inlined into it; null if that operand does not come from a map.
MapOp absorb(MapOp map, unsigned index) {
  auto inner = map.getInputs()[index].getDefiningOp<MapOp>();
  if (!inner)
    return {};
  RegionOperands operands;
  operands.add(map.getInputs(), map.getKinds());
  unsigned numInner = inner.getInputs().size();
  operands.values.erase(operands.values.begin() + index);
  operands.kinds.erase(operands.kinds.begin() + index);
  for (unsigned i = 0; i < numInner; ++i) {
    operands.values.insert(operands.values.begin() + index + i, inner.getInputs()[i]);
    operands.kinds.insert(operands.kinds.begin() + index + i, kindAt(inner.getKinds(), i));
  }
  OpBuilder builder(map);
  auto merged =
      MapOp::create(builder, map.getLoc(), map.getType(), operands.values, operands.kindsAttr(map.getContext()));
  Block *block = startRegion(merged.getBody(), {}, operands, map.getLoc());
  ValueRange all = block->getArguments();
  SmallVector<Value> arguments(all.take_front(index));
  arguments.push_back(inlineRegion(inner.getBody(), all.slice(index, numInner), block));
  llvm::append_range(arguments, all.drop_front(index + numInner));
  yieldValue(block, inlineRegion(map.getBody(), arguments, block));
  map->replaceAllUsesWith(merged);
  map->erase();
  inner->erase();
  return merged;
}

bool samePlace(GroupedMatmulOp a, GroupedMatmulOp b) {
  return a != b && a.getA() == b.getA() && a.getRoute() == b.getRoute() && a.getGathered() == b.getGathered() &&
         a.getTransposed() == b.getTransposed() && a.getB().front().getType() == b.getB().front().getType();
}

// The matmuls of a map that can be the two parts, by operand; empty where there is no such pair.
SmallVector<unsigned> pairOf(MapOp map) {
  SmallVector<std::pair<unsigned, GroupedMatmulOp>> matmuls;
  for (unsigned i = 0; i < map.getInputs().size(); ++i)
    if (kindAt(map.getKinds(), i) == OperandKind::elem)
      if (GroupedMatmulOp matmul = matmulBehind(map.getInputs()[i])) {
        for (auto [first, other] : matmuls)
          if (samePlace(other, matmul))
            return {first, i};
        matmuls.push_back({i, matmul});
      }
  return {};
}

// All operands but the accumulators, of the map and of the maps between, may be part of an epilogue.
bool chainFits(Value value, bool routed) {
  auto map = value.getDefiningOp<MapOp>();
  if (!map)
    return true;
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    bool accumulator = kindAt(map.getKinds(), i) == OperandKind::elem;
    if (accumulator ? !chainFits(map.getInputs()[i], routed) : !fitsEpilogue(map, i, routed))
      return false;
  }
  return true;
}

void mergeParts(MapOp map, unsigned first, unsigned second, std::vector<FusionNote> &notes) {
  auto one = map.getInputs()[first].getDefiningOp<GroupedMatmulOp>();
  auto two = map.getInputs()[second].getDefiningOp<GroupedMatmulOp>();
  notes.push_back({"F1", describeOp(one) + " and " + describeOp(two) + ": one matmul with two parts"});
  MatmulPieces pieces(one);
  pieces.parts.push_back(two.getB().front());
  SmallVector<unsigned> position; // of each map operand among the region's values
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    if (i == first || i == second) {
      position.push_back(i == first ? 0 : 1);
      continue;
    }
    position.push_back(2 + pieces.epilogue.values.size());
    pieces.epilogue.values.push_back(map.getInputs()[i]);
    pieces.epilogue.kinds.push_back(kindAt(map.getKinds(), i));
  }
  OpBuilder builder(map);
  GroupedMatmulOp fused = createMatmul(builder, one.getLoc(), map.getType(), pieces);
  Type f32 = builder.getF32Type();
  Block *block = startRegion(fused.getEpilogue(), {f32, f32}, pieces.epilogue, map.getLoc());
  SmallVector<Value> arguments;
  for (unsigned i : position)
    arguments.push_back(block->getArgument(i));
  yieldValue(block, inlineRegion(map.getBody(), arguments, block));
  map->replaceAllUsesWith(fused);
  map->erase();
  one->erase();
  two->erase();
}

bool fusePartsOf(MapOp map, std::vector<FusionNote> &notes) {
  SmallVector<unsigned> pair = pairOf(map);
  if (pair.empty())
    return false;
  bool routed = bool(matmulBehind(map.getInputs()[pair[0]]).getRoute());
  if (typeOf(map).getRank() != 2 || !isa<FloatType>(typeOf(map).getElementType()))
    return false;
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    bool accumulator = llvm::is_contained(pair, i);
    if (accumulator ? !chainFits(map.getInputs()[i], routed) : !fitsEpilogue(map, i, routed))
      return false;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned i : pairOf(map))
      if (MapOp merged = absorb(map, i)) {
        map = merged;
        changed = true;
        break;
      }
  }
  pair = pairOf(map);
  mergeParts(map, pair[0], pair[1], notes);
  return true;
}

// ---- F3 ---------------------------------------------------------------------------------------------------------

// The only elem operand of a map that may become a prologue; nullopt where it may not.
std::optional<unsigned> prologueInput(MapOp map) {
  std::optional<unsigned> input;
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    OperandKind kind = kindAt(map.getKinds(), i);
    if (kind == OperandKind::elem && !input)
      input = i;
    else if (kind != OperandKind::row && kind != OperandKind::scalar)
      return std::nullopt;
  }
  if (!input || map.getInputs()[*input].getType() != map.getType())
    return std::nullopt;
  if (map.getInputs()[*input].getDefiningOp<GroupedMatmulOp>())
    return std::nullopt;
  return input;
}

bool fusePrologue(GroupedMatmulOp matmul, std::vector<FusionNote> &notes) {
  auto map = matmul.getA().getDefiningOp<MapOp>();
  if (!map || !hasOneUse(matmul.getA()) || matmul.getGathered() || !matmul.getPrologue().empty())
    return false;
  std::optional<unsigned> input = prologueInput(map);
  if (!input)
    return false;
  notes.push_back({"F3", "map before " + describeOp(matmul) + ": prologue"});
  MatmulPieces pieces(matmul);
  pieces.a = map.getInputs()[*input];
  SmallVector<unsigned> position;
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    position.push_back(i == *input ? 0 : 1 + pieces.prologue.values.size());
    if (i == *input)
      continue;
    pieces.prologue.values.push_back(map.getInputs()[i]);
    pieces.prologue.kinds.push_back(kindAt(map.getKinds(), i));
  }
  OpBuilder builder(matmul);
  GroupedMatmulOp fused = createMatmul(builder, matmul.getLoc(), matmul.getType(), pieces);
  fused.getEpilogue().takeBody(matmul.getEpilogue());
  Block *block = startRegion(fused.getPrologue(), typeOf(pieces.a).getElementType(), pieces.prologue, map.getLoc());
  SmallVector<Value> arguments;
  for (unsigned i : position)
    arguments.push_back(block->getArgument(i));
  yieldValue(block, inlineRegion(map.getBody(), arguments, block));
  matmul->replaceAllUsesWith(fused);
  matmul->erase();
  map->erase();
  return true;
}

bool fuseGather(GroupedMatmulOp matmul, std::vector<FusionNote> &notes) {
  auto gather = matmul.getA().getDefiningOp<GatherOp>();
  if (!gather || gather.bySlot() || matmul.getGathered() || gather.getRoute() != matmul.getRoute())
    return false;
  notes.push_back({"F3", "gather before " + describeOp(matmul) + ": rows are read through the route"});
  matmul.getAMutable().set(gather.getInput());
  matmul.setGathered(true);
  if (gather->use_empty())
    gather->erase();
  return true;
}

bool fuseGather(GroupedOuterOp outer, std::vector<FusionNote> &notes) {
  bool any = false;
  for (OpOperand *operand : {&outer.getAMutable(), &outer.getBMutable()}) {
    auto gather = operand->get().getDefiningOp<GatherOp>();
    bool isA = operand == &outer.getAMutable();
    if (!gather || (isA ? outer.getGatheredA() : outer.getGatheredB()) || gather.getRoute() != outer.getRoute())
      continue;
    notes.push_back({"F3", "gather before an outer product: rows are read through the route"});
    operand->set(gather.getInput());
    if (isA)
      outer.setGatheredA(true);
    else
      outer.setGatheredB(true);
    if (gather->use_empty())
      gather->erase();
    any = true;
  }
  return any;
}

// ---- F4, F5 -----------------------------------------------------------------------------------------------------

// The operand of `map` whose stage takes it as epilogue: a combine, else the matmul defined last.
std::optional<unsigned> epilogueOwner(MapOp map) {
  std::optional<unsigned> owner;
  for (unsigned i = 0; i < map.getInputs().size(); ++i) {
    Value value = map.getInputs()[i];
    if (kindAt(map.getKinds(), i) != OperandKind::elem || !hasOneUse(value))
      continue;
    if (value.getDefiningOp<CombineOp>())
      return othersFit(map, i, /*routed=*/false) ? std::optional<unsigned>(i) : std::nullopt;
    auto matmul = value.getDefiningOp<GroupedMatmulOp>();
    if (!matmul || !othersFit(map, i, bool(matmul.getRoute())))
      continue;
    if (!owner || map.getInputs()[*owner].getDefiningOp()->isBeforeInBlock(matmul))
      owner = i;
  }
  return owner;
}

// Calls `rule` on every op of type Op until no call changes anything.
template <typename Op, typename Rule> bool untilDone(func::FuncOp layer, Rule rule) {
  bool any = false;
  for (bool changed = true; changed; any |= changed) {
    changed = false;
    for (Op op : llvm::to_vector(layer.getBody().front().getOps<Op>()))
      if ((changed = rule(op)))
        break;
  }
  return any;
}

} // namespace

std::string describeOp(Operation *op) {
  auto matmul = dyn_cast<GroupedMatmulOp>(op);
  if (!matmul)
    return op->getName().stripDialect().str();
  std::string text = roleOfArgument(matmul.getB().front()).str();
  if (matmul.parts() == 2)
    text += " and " + roleOfArgument(matmul.getB().back()).str();
  return text;
}

bool fuseParts(func::FuncOp layer, std::vector<FusionNote> &notes) {
  return untilDone<MapOp>(layer, [&](MapOp map) { return fusePartsOf(map, notes); });
}

bool fuseAccess(func::FuncOp layer, std::vector<FusionNote> &notes) {
  bool matmuls = untilDone<GroupedMatmulOp>(
      layer, [&](GroupedMatmulOp matmul) { return fusePrologue(matmul, notes) || fuseGather(matmul, notes); });
  bool outers = untilDone<GroupedOuterOp>(layer, [&](GroupedOuterOp outer) { return fuseGather(outer, notes); });
  return matmuls || outers;
}

bool fuseEpilogues(func::FuncOp layer, std::vector<FusionNote> &notes) {
  return untilDone<MapOp>(layer, [&](MapOp map) {
    std::optional<unsigned> owner = epilogueOwner(map);
    if (!owner)
      return false;
    Operation *stage = map.getInputs()[*owner].getDefiningOp();
    bool combine = isa<CombineOp>(stage);
    notes.push_back({combine ? "F5" : "F4", "map after " + describeOp(stage) + ": epilogue"});
    appendEpilogue(stage, map, *owner);
    return true;
  });
}

// `name` as schedules spell stages, [a-z][a-z0-9_]{0,62}, with a number where another stage has it already.
static std::string uniqueName(std::string name, llvm::StringSet<> &taken) {
  for (char &c : name)
    c = llvm::isAlnum(c) ? llvm::toLower(c) : '_';
  if (name.empty() || !llvm::isAlpha(name[0]))
    name = "stage_" + name;
  constexpr size_t longest = 63;
  std::string unique = name.substr(0, longest);
  for (unsigned n = 2; !taken.insert(unique).second; ++n) {
    std::string number = "_" + std::to_string(n);
    unique = name.substr(0, longest - number.size()) + number;
  }
  return unique;
}

// The parameter whose gradient is made of `value`; "" where it is not one's alone.
StringRef roleOfGradient(func::FuncOp layer, Value value) {
  for (OpOperand &use : value.getUses())
    if (isa<func::ReturnOp>(use.getOwner())) {
      StringRef role = layer.getResultAttrOfType<StringAttr>(use.getOperandNumber(), "moe.role").getValue();
      if (role.consume_front("grad."))
        return role;
    }
  return "";
}

// Names say what a stage computes: the role of its weights, "route" where ids are made. Of a backward pass "dgrad" is
// what goes through the transposed weights, "wgrad" a gradient of weights.
void nameStages(func::FuncOp layer) {
  llvm::StringSet<> taken;
  bool backward = layer->hasAttr(backwardAttr);
  for (Operation &op : layer.getBody().front().without_terminator()) {
    std::string name = op.getName().stripDialect().str();
    if (auto matmul = dyn_cast<GroupedMatmulOp>(op)) {
      name = roleOfArgument(matmul.getB().front()).str();
      if (matmul.parts() == 2) {
        auto [head, tail] = roleOfArgument(matmul.getB().back()).rsplit('.');
        name += "_" + (tail.empty() ? head : tail).str();
      }
      StringRef stem = name;
      if (stem.consume_back(".weight"))
        name = stem.str();
      name += matmul.getTransposed() ? "_dgrad" : "";
    }
    if (auto outer = dyn_cast<GroupedOuterOp>(op)) {
      StringRef role = roleOfGradient(layer, outer.getResult());
      role.consume_back(".weight");
      name = (role.empty() ? "outer" : role.str()) + "_wgrad";
    }
    if (isa<RowProgramOp>(op))
      name = llvm::any_of(op.getUsers(), [](Operation *user) { return isa<DispatchOp>(user); }) ? "route" : "rows";
    if (backward && !StringRef(name).ends_with("grad"))
      name += "_backward";
    op.setAttr("moe.stage", StringAttr::get(op.getContext(), uniqueName(name, taken)));
  }
}

LogicalResult fuseStages(func::FuncOp layer, std::vector<FusionNote> &notes) {
  settleIdentity(layer);
  Block &block = layer.getBody().front();
  auto removeUnused = [&] {
    SmallVector<Operation *> ops;
    for (Operation &op : block.without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (op->use_empty() && !op->hasAttr("moe.experts")) // whose counts a call may ask for
        op->erase();
  };
  removeUnused();
  fuseParts(layer, notes);
  fuseAccess(layer, notes);
  fuseEpilogues(layer, notes);
  removeUnused();
  if (failed(formRowPrograms(layer, notes)))
    return failure();
  nameStages(layer);
  return success();
}

} // namespace moec
