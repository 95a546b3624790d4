// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Steps and buffers that only backward passes have.
//
// Gradients of parameters are values of the whole call. That of a matrix which one outer product makes goes from the
// kernel to the caller's buffer; the others are made in the workspace, and a step of the runtime stores them.

#include "codegen/moe/PassArguments.h"
#include "codegen/plan/OuterBlocks.h"
#include "codegen/plan/PlanBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

StringRef nameOf(Operation *op) { return cast<StringAttr>(op->getAttr("moe.stage")).getValue(); }

// The route of whose rows a saved argument is; null: tokens, or values of the whole call.
Value routeOfSaved(BlockArgument argument) {
  for (Operation *user : argument.getUsers())
    if (auto rows = dyn_cast<RowsOfOp>(user))
      return rows.getRoute();
  return {};
}

} // namespace

uint16_t PlanBuilder::passArgument(BlockArgument argument, StringRef role) {
  RankedTensorType type = typeOf(argument);
  int64_t element = elementBytesOf(type.getElementType());
  moec_buffer buffer = {};
  buffer.kind = MOEC_BUFFER_INPUT;
  buffer.dtype = typeCodeOf(type.getElementType());
  unsigned saved = 0;
  if (role.consume_front("saved.") && !role.getAsInteger(10, saved))
    buffer.role = uint16_t(MOEC_ROLE_SAVED + saved);
  else
    buffer.role = role == "grad.y" ? MOEC_ROLE_GRAD_Y : MOEC_ROLE_GRAD_LOSSES;
  std::string name = cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue().str();
  if (type.hasStaticShape()) {
    buffer.bytes = {0, type.getNumElements() * element, 0};
    uint16_t given = addBuffer(buffer, name);
    if (buffer.role != MOEC_ROLE_GRAD_LOSSES)
      return given;
    // Kernels read whole vectors, and the caller's array is as long as the losses are many.
    buffer.kind = MOEC_BUFFER_WORKSPACE;
    buffer.role = MOEC_ROLE_NONE;
    CopyArgs<uint16_t> args = {given, addBuffer(buffer, name + ".padded")};
    addStep(MOEC_STEP_COPY, "copy_" + name, listArgs(args), nullptr);
    return args.to;
  }
  int64_t stride = (type.getRank() == 2 ? type.getDimSize(1) : 1) * element;
  Value route = routeOfSaved(argument);
  moec_extent rows = route ? rowBound(cast<RouteType>(route.getType())) : moec_extent{1, 0, 0};
  buffer.bytes = {stride * rows.per_token, stride * rows.fixed, stride * rows.per_sequence};
  buffer.row_stride = uint32_t(stride);
  return addBuffer(buffer, name);
}

// ---- gradients --------------------------------------------------------------------------------------------------

// The parameter whose gradient result `i` is; null: of x or another input.
static BlockArgument parameterOfResult(func::FuncOp layer, unsigned i) {
  StringRef name = cast<StringAttr>(layer.getResultAttr(i, "moe.role")).getValue();
  if (!name.consume_front("grad."))
    return {};
  for (BlockArgument argument : layer.getArguments())
    if (cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue() == name &&
        typeOf(argument).hasStaticShape() && !inputOf(argument))
      return argument;
  return {};
}

std::optional<uint16_t> PlanBuilder::directGradient(Value value) {
  if (!value.getDefiningOp<GroupedOuterOp>() || !value.hasOneUse() || !isa<func::ReturnOp>(*value.user_begin()))
    return std::nullopt;
  BlockArgument parameter = parameterOfResult(layer, value.use_begin()->getOperandNumber());
  if (!parameter || hasMembers(parameter))
    return std::nullopt;
  std::optional<uint16_t> role = roleOf(parameter, /*matrix=*/true);
  if (!role) {
    weightStatus = failure();
    return std::nullopt;
  }
  moec_buffer buffer = {};
  buffer.kind = MOEC_BUFFER_GRADIENT;
  buffer.slot = *role;
  buffer.dtype = MOEC_F32;
  return addBuffer(buffer, "grad." + plan.string(plan.roles[*role].name).str());
}

LogicalResult PlanBuilder::addGradients() {
  Operation *end = layer.getBody().front().getTerminator();
  for (unsigned i = 0; backward() && i < end->getNumOperands(); ++i) {
    BlockArgument parameter = parameterOfResult(layer, i);
    if (!parameter || plan.buffers[bufferOf(end->getOperand(i))].kind == MOEC_BUFFER_GRADIENT)
      continue;
    std::string name = cast<StringAttr>(layer.getResultAttr(i, "moe.role")).getValue().str();
    auto role = plan.roleOfName.find(name.substr(5));
    if (role == plan.roleOfName.end())
      return layer.emitOpError("P4: ") << name << " is the gradient of a parameter that forward does not read";
    moec_buffer buffer = {};
    buffer.kind = MOEC_BUFFER_GRADIENT;
    buffer.slot = role->second;
    buffer.route = hasMembers(parameter) ? uint16_t(typeOf(parameter).getDimSize(0)) : 0;
    buffer.dtype = MOEC_F32;
    GradientArgs<uint16_t> args = {bufferOf(end->getOperand(i)), addBuffer(buffer, name)};
    addStep(MOEC_STEP_GRADIENT, "store_" + name, listArgs(args), nullptr);
  }
  return success();
}

// ---- steps ------------------------------------------------------------------------------------------------------

LogicalResult PlanBuilder::addOuter(GroupedOuterOp op) {
  int64_t m = typeOf(op.getA()).getDimSize(1), n = typeOf(op.getB()).getDimSize(1);
  moec_step &step = addStep(MOEC_STEP_GROUPS, nameOf(op), argsFor(op), op);
  if (op.getRoute())
    step.route = routeSteps.lookup(op.getRoute());
  step.num_groups = op.getRoute() ? uint32_t(cast<RouteType>(op.getRoute().getType()).getGroups()) : 1;
  step.choices = uint32_t(OuterBlocks::of(step.num_groups).count(m, n));
  step.flops_per_row = 2 * m * n;
  step.bytes_per_group = 4 * m * n;
  return success();
}

LogicalResult PlanBuilder::addGroupSum(GroupSumOp op) {
  RankedTensorType type = typeOf(op.getResult());
  moec_step &step = addStep(MOEC_STEP_GROUPS, nameOf(op), argsFor(op), op);
  step.route = routeSteps.lookup(op.getRoute());
  step.num_groups = type.getRank() == 2 ? uint32_t(type.getDimSize(0)) : 1;
  step.choices = uint32_t(llvm::divideCeil(type.getShape().back(), tokenReduceBlock));
  return success();
}

LogicalResult PlanBuilder::addSlotValues(SlotValuesOp op) {
  addStep(MOEC_STEP_ROWS, nameOf(op), argsFor(op), op).rows_per_task = 64;
  return success();
}

LogicalResult PlanBuilder::addSlotProducts(SlotProductsOp op) {
  addStep(MOEC_STEP_ROWS, nameOf(op), argsFor(op), op).rows_per_task = 4;
  return success();
}

static uint32_t blocksOf(RankedTensorType type) {
  return uint32_t(llvm::divideCeil(type.getNumElements(), parameterBlock));
}

LogicalResult PlanBuilder::addParameterSum(ParameterSumOp op) {
  moec_step &step = addStep(MOEC_STEP_GROUPS, nameOf(op), argsFor(op), op);
  step.num_groups = 1;
  step.choices = blocksOf(typeOf(op.getResult()));
  return success();
}

LogicalResult PlanBuilder::addScaledRows(ScaledRowsOp op) {
  std::optional<uint16_t> panels = matrixBuffer(op.getMatrix());
  if (!panels)
    return failure();
  ScaledRowsArgs<uint16_t> args = mapArgs<uint16_t>(
      argsOf(op), [&](const StageArg &arg) { return arg.kind == StageArg::Matrices ? *panels : argument(arg); });
  moec_step &step = addStep(MOEC_STEP_GROUPS, nameOf(op), listArgs(args), op);
  step.num_groups = 1;
  step.choices = uint32_t(typeOf(op.getResult()).getDimSize(0));
  return success();
}

} // namespace moec
