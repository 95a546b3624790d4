// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of a value follow from what made it; findLayer() checks that they agree wherever values meet.

#include "codegen/moe/LayerChecks.h"

#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/MoeDialect.h"

#include "runtime/moec_outputs.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

bool isStorageFloat(Type type) { return type.isF32() || type.isBF16() || type.isF16(); }

constexpr int64_t maxTopK = 256, maxColumns = 1 << 20;
constexpr size_t maxOps = 4096; // also bounds the recursion of rowSpaceOf

bool isDynamicRows(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() > 0 && tensor.isDynamicDim(0);
}

// Rows of a map-like op: those of its first operand that has rows; tokens where none has.
RowSpace rowsOfOperands(OperandRange operands) {
  for (Value operand : operands)
    if (isDynamicRows(operand.getType()))
      return rowSpaceOf(operand);
  return {};
}

StringRef roleOf(Attribute attribute) {
  auto text = dyn_cast_or_null<StringAttr>(attribute);
  return text ? text.getValue() : StringRef();
}

bool isRoleName(StringRef role) {
  return llvm::all_of(role, [](char c) { return llvm::isLower(c) || llvm::isDigit(c) || c == '_' || c == '.'; });
}

// Types of the further inputs, once there is an x.
LogicalResult checkInputs(func::FuncOp function) {
  RankedTensorType x;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (roleOf(function.getArgAttr(i, "moe.role")) == "x")
      x = cast<RankedTensorType>(function.getArgumentTypes()[i]);
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    const LayerInput *input = findLayerInput(roleOf(function.getArgAttr(i, "moe.role")));
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    if (input && !fitsInput(*input, type, x))
      return function.emitOpError("L2: input ") << input->name << " must be " << input->shapeText << ", found " << type;
  }
  return success();
}

// moe.members {role, experts, shapes}: the tensors that a parameter [G,...] stands for, one per group and none larger
// than its share.
LogicalResult checkMembers(func::FuncOp function, unsigned index, RankedTensorType type) {
  Attribute attribute = function.getArgAttr(index, "moe.members");
  if (!attribute)
    return success();
  auto members = dyn_cast<DictionaryAttr>(attribute);
  auto role = members ? members.getAs<StringAttr>("role") : StringAttr();
  auto experts = members ? members.getAs<DenseI64ArrayAttr>("experts") : DenseI64ArrayAttr();
  auto shapes = members ? members.getAs<DenseI64ArrayAttr>("shapes") : DenseI64ArrayAttr();
  int64_t rank = type.getRank() - 1;
  bool fits = role && !role.getValue().empty() && experts && shapes && rank >= 1 &&
              experts.size() == type.getDimSize(0) && shapes.size() == experts.size() * rank &&
              isRoleName(role.getValue());
  for (int64_t i = 0; fits && i < shapes.size(); ++i)
    fits = shapes[i] >= 1 && shapes[i] <= type.getDimSize(unsigned(1 + i % rank));
  for (int64_t i = 0; fits && i < experts.size(); ++i)
    fits = experts[i] >= 0 && experts[i] < (1 << 20);
  if (!fits)
    return function.emitOpError("L2: moe.members of argument ")
           << index << " must hold a role, one expert for each group of " << type << " and the shapes of their tensors";
  return success();
}

LogicalResult checkArguments(func::FuncOp function) {
  unsigned numX = 0;
  llvm::StringMap<unsigned> seen;
  llvm::StringSet<> inputs;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    StringRef role = roleOf(function.getArgAttr(i, "moe.role"));
    auto type = dyn_cast<RankedTensorType>(function.getArgumentTypes()[i]);
    if (role.empty() || !type)
      return function.emitOpError("L2: argument ") << i << " must be a tensor with a moe.role";
    // The emitted header lists roles in a comment.
    if (!isRoleName(role)) {
      std::string found;
      llvm::raw_string_ostream os(found);
      llvm::printEscapedString(role, os);
      return function.emitOpError("L2: the role of argument ")
             << i << " must be of a-z, 0-9, _ and ., found \"" << found << "\"";
    }
    if (role == "x") {
      bool activations =
          type.getRank() == 2 && type.isDynamicDim(0) && !type.isDynamicDim(1) && isStorageFloat(type.getElementType());
      if (++numX > 1 || !activations)
        return function.emitOpError("L2: x must come once and be [?,H] of f32, bf16 or f16, found ") << type;
      continue;
    }
    if (findLayerInput(role)) {
      if (!inputs.insert(role).second)
        return function.emitOpError("L2: input ") << role << " comes twice";
      continue;
    }
    bool weight = type.hasStaticShape() && type.getRank() >= 1 && type.getRank() <= 3 && type.getNumElements() > 0 &&
                  isStorageFloat(type.getElementType());
    if (!weight)
      return function.emitOpError("L2: parameter ")
             << role << " must have a static shape of rank 1..3 of f32, bf16 or f16, found " << type;
    if (failed(checkMembers(function, i, type)))
      return failure();
    auto [entry, fresh] = seen.try_emplace(role, i);
    if (!fresh && (function.getArgumentTypes()[entry->second] != type ||
                   function.getArgAttr(entry->second, "moe.storage") != function.getArgAttr(i, "moe.storage")))
      return function.emitOpError("L2: parameter ") << role << " comes twice with different types or storage";
  }
  if (numX != 1)
    return function.emitOpError("L2: no argument has the moe.role \"x\"");
  return checkInputs(function);
}

// y, or a row of the table but counts, which the runtime makes.
bool fitsOutput(StringRef role, RankedTensorType type) {
  bool rows = type && type.getRank() == 2 && type.isDynamicDim(0) && !type.isDynamicDim(1);
  bool total = type && type.getRank() == 1 && type.hasStaticShape() && type.getDimSize(0) >= 1;
  if (role == "y")
    return rows && isStorageFloat(type.getElementType());
  auto output = llvm::find_if(moec_outputs, [&](const moec_output &row) { return role == row.name; });
  if (output == std::end(moec_outputs) || !(rows || total))
    return false;
  Type element = type.getElementType();
  if (!(output->dtype == MOEC_F32 ? element.isF32() : element.isInteger(32)))
    return false;
  switch (output->shape) {
  case MOEC_SHAPE_TN:
  case MOEC_SHAPE_TK:
    return rows;
  case MOEC_SHAPE_N:
    return total;
  default:
    return output->shape == MOEC_SHAPE_ONE && total && type.getDimSize(0) == 1;
  }
}

// "y [?,H] f32, bf16 or f16, logits [?,n] f32, ids [?,K] i32, ..."
std::string outputsText() {
  static const char *const shapes[] = {" [?,n]", " [?,K]", "", " [n]", " [1]"};
  std::string text = "y [?,H] f32, bf16 or f16";
  for (const moec_output &output : moec_outputs)
    if (output.shape != MOEC_SHAPE_E)
      text += std::string(", ") + output.name + shapes[output.shape] + (output.dtype == MOEC_F32 ? " f32" : " i32");
  return text;
}

LogicalResult checkResults(func::FuncOp function) {
  llvm::StringSet<> seen;
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    StringRef role = roleOf(function.getResultAttr(i, "moe.role"));
    if (!fitsOutput(role, dyn_cast<RankedTensorType>(function.getResultTypes()[i])) || !seen.insert(role).second)
      return function.emitOpError("L3: result ") << i << " must be one of " << outputsText() << ", found \"" << role
                                                 << "\" " << function.getResultTypes()[i];
  }
  if (seen.contains("ids") != seen.contains("weights"))
    return function.emitOpError("L3: ids and weights come together, found only ")
           << (seen.contains("ids") ? "ids" : "weights");
  return seen.contains("y") ? success() : function.emitOpError("L3: no result has the moe.role \"y\"");
}

std::string nameOf(RowSpace space) { return space ? "rows of a route" : "tokens"; }

// The rows every dynamic tensor operand of `op` must have.
LogicalResult expectRows(Operation *op, Value operand, RowSpace expected) {
  RowSpace found = rowSpaceOf(operand);
  if (!isDynamicRows(operand.getType()) || found == expected)
    return success();
  return op->emitOpError("L5: operand ") << operand.getType() << " has "
                                         << (found && expected ? "rows of another route" : nameOf(found)) << " where "
                                         << nameOf(expected) << " are expected";
}

// Per-group columns need rows that have groups.
LogicalResult checkColumns(Operation *op, OperandRange operands, ArrayAttr kinds, RowSpace space) {
  for (auto [i, operand] : llvm::enumerate(operands)) {
    auto type = cast<RankedTensorType>(operand.getType());
    if (kindAt(kinds, i) != OperandKind::col || type.getRank() != 2)
      continue;
    int64_t groups = space ? cast<RouteType>(space.getType()).getGroups() : 1;
    if (!space || groups != type.getDimSize(0))
      return op->emitOpError("L6: operand ")
             << i << " has a row for each of " << type.getDimSize(0) << " groups, but "
             << (space ? "the route has " + std::to_string(groups) : std::string("the rows are tokens"));
  }
  return success();
}

LogicalResult checkMatmul(GroupedMatmulOp op) {
  RowSpace space = op.getRoute(); // null without: rows of A
  if (!space)
    space = rowSpaceOf(op.getA());
  if (failed(expectRows(op, op.getA(), op.getGathered() ? RowSpace() : space)))
    return failure();
  for (Value operand : op.getPrologueOperands())
    if (failed(expectRows(op, operand, space)))
      return failure();
  for (Value operand : op.getEpilogueOperands())
    if (failed(expectRows(op, operand, space)))
      return failure();
  return success();
}

// Whether slot_rows alone reads `input`, as `op` does.
bool isReadAs(SlotRowsOp op, Value input) {
  return llvm::all_of(input.getUses(), [&](OpOperand &use) {
    if (auto program = dyn_cast<RowProgramOp>(use.getOwner()))
      return isReadAs(op, program.getBody().getArgument(use.getOperandNumber()));
    auto reader = dyn_cast<SlotRowsOp>(use.getOwner());
    return reader && reader.getSlots() == op.getSlots() && reader.getScope() == op.getScope();
  });
}

// L10. `input` and `route` are those of the layer, also for an op in a row program.
LogicalResult checkSlotRows(SlotRowsOp op, Value input, Value route) {
  auto slots = route ? route.getDefiningOp<SlotsOp>() : SlotsOp();
  if (!slots || slots.getScope() != op.getScope())
    return op.emitOpError("L10: the route must come from slots of scope ") << stringifyScope(op.getScope());
  const LayerInput *mask = input ? inputOf(input) : nullptr;
  if (!mask || (mask->name != "hidden_mask" && mask->name != "output_mask") || !isReadAs(op, input))
    return op.emitOpError("L10: x must be a mask of the layer that slot_rows alone reads, with ")
           << op.getSlots() << " slots of each scope";
  return success();
}

// Inside a row_program all rows are those of its route, or tokens; only gather reads tokens beside a route.
LogicalResult checkProgram(RowProgramOp program) {
  RowSpace space = rowSpaceOf(program.getResults().front());
  if (program.getBody().front().getOperations().size() > maxOps)
    return program.emitOpError("L4: a row_program has at most ") << maxOps << " ops";
  auto inputOfProgram = [&](Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument ? program.getInputs()[argument.getArgNumber()] : Value();
  };
  for (Operation &op : program.getBody().front()) {
    for (Value operand : op.getOperands())
      if (failed(expectRows(&op, operand, isa<GatherOp, SlotRowsOp>(op) ? RowSpace() : space)))
        return failure();
    if (auto rows = dyn_cast<SlotRowsOp>(op))
      if (failed(checkSlotRows(rows, inputOfProgram(rows.getInput()), inputOfProgram(rows.getRoute()))))
        return failure();
  }
  return success();
}

LogicalResult checkRows(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([](GroupedMatmulOp matmul) { return checkMatmul(matmul); })
      .Case([](GatherOp gather) { return expectRows(gather, gather.getInput(), RowSpace()); })
      .Case([](SlotRowsOp rows) { return checkSlotRows(rows, rows.getInput(), rows.getRoute()); })
      .Case([](DispatchOp dispatch) { return expectRows(dispatch, dispatch.getIds(), RowSpace()); })
      .Case<CapacityOp, TopTokensOp, TokenReduceOp, TokenTotalOp, SlotInputsOp>([](Operation *tokens) {
        for (Value operand : tokens->getOperands())
          if (!isa<RouteType>(operand.getType()) && failed(expectRows(tokens, operand, RowSpace())))
            return failure();
        return success();
      })
      .Case([](CombineOp combine) {
        if (failed(expectRows(combine, combine.getRows(), combine.getRoute())))
          return failure();
        for (Value operand : combine->getOperands().drop_front(2))
          if (failed(expectRows(combine, operand, RowSpace())))
            return failure();
        return success();
      })
      .Case([](RowProgramOp program) {
        return program.getNumResults() ? checkProgram(program) : program.emitOpError("L5: a row_program has no result");
      })
      .Case([](MapOp map) {
        return checkColumns(map, map.getInputs(), map.getKinds(), rowsOfOperands(map->getOperands()));
      })
      .Default(success());
}

// Ops that differentiation makes, and the forms of others.
bool isOfBackward(Operation *op) {
  if (auto matmul = dyn_cast<GroupedMatmulOp>(op))
    if (matmul.getTransposed())
      return true;
  if (isa<GroupedOuterOp, GroupSumOp, RowsOfOp, SlotValuesOp, SlotProductsOp, ParameterSumOp, ScaledRowsOp>(op))
    return true;
  return op
      ->walk([](Operation *inner) {
        return isa<ApplyOp, GradientOfOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

LogicalResult checkOp(Operation *op) {
  if (isa<func::ReturnOp>(op))
    return success();
  if (!isa<MoeDialect>(op->getDialect()) || isa<YieldOp>(op))
    return op->emitOpError("L4: a layer holds only moe ops");
  if (isOfBackward(op))
    return op->emitOpError("L9: belongs to backward passes; moec makes them from the forward layer");
  if (auto topK = dyn_cast<TopKOp>(op))
    if (topK.getK() > uint64_t(maxTopK))
      return op->emitOpError("L7: k (") << topK.getK() << ") is larger than " << maxTopK;
  for (Value value : op->getOperands())
    if (auto type = dyn_cast<RankedTensorType>(value.getType()))
      if (type.hasRank() && type.getRank() == 2 && type.getDimSize(1) > maxColumns)
        return op->emitOpError("L7: ") << type << " has more than " << maxColumns << " columns";
  for (Value value : op->getOperands())
    if (value.getDefiningOp<TokenTotalOp>())
      return op->emitOpError("L8: a token_total is a result of the layer, no stage reads it");
  bool rowOp = isRowOp(op) && !isa<GatherOp, SlotRowsOp>(op);
  RowSpace space = rowsOfOperands(op->getOperands());
  for (Value operand : op->getOperands())
    if (rowOp && failed(expectRows(op, operand, space)))
      return failure();
  return checkRows(op);
}

// L5 of the results: all are tokens.
LogicalResult checkReturn(func::FuncOp function) {
  for (Value value : function.getBody().front().getTerminator()->getOperands())
    if (cast<RankedTensorType>(value.getType()).hasStaticShape() && !value.getDefiningOp<TokenTotalOp>())
      return function.emitOpError("L8: result ")
             << value.getType() << " is of the whole call, which only a token_total makes";
    else if (rowSpaceOf(value))
      return function.emitOpError("L5: result ") << value.getType() << " has rows of a route, results are tokens";
  return success();
}

} // namespace

RowSpace rowSpaceOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op) // an argument of the layer, or of a row_program: its input's rows
    if (auto program = dyn_cast<RowProgramOp>(value.getParentBlock()->getParentOp()))
      return rowSpaceOf(program.getInputs()[cast<BlockArgument>(value).getArgNumber()]);
  if (!op)
    return {};
  if (isa<CombineOp, DispatchOp, SlotsOp, TokenTotalOp, SlotValuesOp, SlotProductsOp>(op))
    return {};
  if (auto slots = dyn_cast<SlotInputsOp>(op))
    return slots.getRoute();
  if (auto rows = dyn_cast<RowsOfOp>(op))
    return rows.getRoute();
  if (isa<GatherOp, SlotRowsOp>(op)) {
    Value route = op->getOperand(1);
    if (auto program = dyn_cast<RowProgramOp>(op->getParentOp()))
      return program.getInputs()[cast<BlockArgument>(route).getArgNumber()];
    return route;
  }
  if (auto matmul = dyn_cast<GroupedMatmulOp>(op))
    return matmul.getRoute() ? RowSpace(matmul.getRoute()) : rowSpaceOf(matmul.getA());
  if (auto program = dyn_cast<RowProgramOp>(op)) {
    for (Value input : program.getInputs())
      if (isa<RouteType>(input.getType()))
        return input;
    return rowsOfOperands(program->getOperands());
  }
  return rowsOfOperands(op->getOperands());
}

// The name becomes a symbol, a file and a CMake target.
static bool isLayerName(StringRef name) {
  auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= 63 && letter(name[0]) &&
         llvm::all_of(name, [&](char c) { return letter(c) || llvm::isDigit(c) || c == '_'; });
}

static std::string printable(StringRef text) {
  std::string out;
  for (char c : text.take_front(80))
    out += llvm::isPrint(c) ? c : '?';
  return out;
}

func::FuncOp findLayer(ModuleOp module) {
  func::FuncOp function;
  for (Operation &op : *module.getBody()) {
    if (function || !isa<func::FuncOp>(op)) {
      op.emitOpError("L1: a layer is one func.func, the module holds more");
      return {};
    }
    function = cast<func::FuncOp>(op);
  }
  if (!function || !function.getBody().hasOneBlock()) {
    (function ? function->emitOpError() : module->emitOpError()) << "L1: a layer is one func.func with one block";
    return {};
  }
  if (!isLayerName(function.getSymName())) {
    function.emitOpError("L1: a layer's name is [a-z][a-z0-9_]{0,62}, found \"")
        << printable(function.getSymName()) << "\"";
    return {};
  }
  if (failed(checkArguments(function)) || failed(checkResults(function)))
    return {};
  if (function.getBody().front().getOperations().size() > maxOps) {
    function.emitOpError("L4: a layer has at most ")
        << maxOps << " ops, found " << function.getBody().front().getOperations().size();
    return {};
  }
  for (Operation &op : function.getBody().front())
    if (failed(checkOp(&op)))
      return {};
  return succeeded(checkReturn(function)) ? function : func::FuncOp();
}

} // namespace moec
