// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step per stage, one buffer per value; PlanWeights.cpp makes roles and weight regions, PlanSlots.cpp lifetimes.

#include "codegen/plan/PlanStages.h"

#include "codegen/fuse/FuseStages.h"
#include "codegen/fuse/NumericModes.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/PassArguments.h"
#include "codegen/moe/SlotInputRows.h"
#include "codegen/plan/PlanBuilder.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

constexpr size_t maxBuffers = 256, maxSteps = 256, maxArgs = 64, maxRoutes = 16;
constexpr int64_t maxBytes = int64_t(1) << 52;

StringRef stageName(Operation *op) { return cast<StringAttr>(op->getAttr("moe.stage")).getValue(); }

int64_t columnsOf(RankedTensorType type) { return type.getRank() == 2 ? type.getDimSize(1) : 1; }

// Rows a worker claims at once: about 16 Ki elements, so that claiming costs nothing beside the work.
uint32_t rowsPerTask(int64_t columns) {
  return uint32_t(std::clamp<int64_t>(16384 / std::max<int64_t>(columns, 1), 1, 64));
}

} // namespace

// Kernels keep an i1 as an i32.
int64_t elementBytesOf(Type type) { return type.isBF16() || type.isF16() ? 2 : 4; }

uint16_t typeCodeOf(Type type) {
  if (type.isBF16() || type.isF16())
    return type.isBF16() ? MOEC_BF16 : MOEC_F16;
  return isa<IntegerType>(type) ? MOEC_I32 : MOEC_F32;
}

// ---- buffers ----------------------------------------------------------------------------------------------------

uint16_t PlanBuilder::addBuffer(moec_buffer buffer, StringRef name) {
  buffer.name = plan.addString(name);
  plan.buffers.push_back(buffer);
  return uint16_t(plan.buffers.size() - 1);
}

// The caller's argument that a result is; MOEC_ROLE_NONE: the gradient of a parameter.
static uint16_t roleOfResult(StringRef name) {
  unsigned saved;
  if (name.starts_with("saved.") && !name.drop_front(6).getAsInteger(10, saved) && saved < MOEC_MAX_SAVED)
    return uint16_t(MOEC_ROLE_SAVED + saved);
  return llvm::StringSwitch<uint16_t>(name)
      .Case("y", MOEC_ROLE_Y)
      .Case("logits", MOEC_ROLE_LOGITS)
      .Case("ids", MOEC_ROLE_IDS)
      .Case("weights", MOEC_ROLE_WEIGHTS)
      .Case("grad.x", MOEC_ROLE_GRAD_X)
      .Case("grad.residual", MOEC_ROLE_GRAD_RESIDUAL)
      .Case("grad.expert_weights", MOEC_ROLE_GRAD_EXPERT_WEIGHTS)
      .Default(reportRole(name).value_or(MOEC_ROLE_NONE));
}

// The caller's name of a value that the layer returns: the first one, if it has several.
static std::optional<std::pair<uint16_t, StringRef>> resultRole(func::FuncOp layer, Value value) {
  for (OpOperand &use : value.getUses()) {
    if (!isa<func::ReturnOp>(use.getOwner()))
      continue;
    StringRef name = cast<StringAttr>(layer.getResultAttr(use.getOperandNumber(), "moe.role")).getValue();
    if (uint16_t role = roleOfResult(name))
      return std::make_pair(role, name);
  }
  return std::nullopt;
}

// Steps of the runtime, and what reads columns, know rows without gaps only.
static bool isReadWithoutGaps(Value value) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    auto inputs = dyn_cast<SlotInputsOp>(user);
    return isa<CapacityOp, TopTokensOp, TokenReduceOp, TokenTotalOp>(user) || (inputs && inputs.getWeights() == value);
  });
}

moec_extent rowBound(RouteType type) {
  return {type.getRowsPerToken(), type.getRowsFixed(), type.getRowsPerSequence()};
}

uint16_t PlanBuilder::bufferOf(Value value) {
  if (auto found = buffers.find(value); found != buffers.end())
    return found->second;
  auto type = cast<RankedTensorType>(value.getType());
  Operation *def = value.getDefiningOp();
  moec_buffer buffer = {};
  buffer.dtype = typeCodeOf(type.getElementType());
  int64_t stride = columnsOf(type) * elementBytesOf(type.getElementType());
  std::string name = "x";
  bool once = def && type.hasStaticShape(); // for the whole call
  if (once)
    stride = type.getNumElements() * elementBytesOf(type.getElementType());
  if (auto rows = value.getDefiningOp<RowsOfOp>()) // saved rows are where the caller has them
    return buffers[value] = bufferOf(rows.getInput());
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    StringRef role = cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue();
    if (isPassArgument(role))
      return buffers[value] = passArgument(argument, role);
  }
  if (std::optional<uint16_t> gradient = directGradient(value))
    return buffers[value] = *gradient;
  if (!def) {
    const LayerInput *input = inputOf(value);
    buffer.kind = MOEC_BUFFER_INPUT;
    buffer.role = input ? input->role : uint16_t(MOEC_ROLE_X);
    once = input && input->shape == InputShape::One;
    name = input ? input->name.str() : name;
  } else {
    name = stageName(def).str();
    if (def->getNumResults() > 1)
      name += "." + std::to_string(cast<OpResult>(value).getResultNumber());
    buffer.kind = MOEC_BUFFER_WORKSPACE;
    if (auto role = resultRole(layer, value)) {
      buffer.kind = role->first == MOEC_ROLE_Y ? MOEC_BUFFER_OUTPUT : MOEC_BUFFER_OPT_OUTPUT;
      buffer.role = role->first;
      name = role->second.str();
    } else if (isa<GroupedMatmulOp, CombineOp, SlotInputsOp>(def) && !isReadWithoutGaps(value)) {
      stride = llvm::alignTo(stride, 64);
    }
  }
  RowSpace space = rowSpaceOf(value);
  moec_extent rows = space ? rowBound(cast<RouteType>(space.getType())) : moec_extent{1, 0, 0};
  if (SlotRowsOp reader = def ? SlotRowsOp() : slotReaderOf(value)) {
    int64_t slots = int64_t(reader.getSlots());
    rows = reader.getScope() == Scope::batch ? moec_extent{0, slots, 0} : moec_extent{0, 0, slots};
  }
  buffer.bytes = once ? moec_extent{0, stride, 0}
                      : moec_extent{stride * rows.per_token, stride * rows.fixed, stride * rows.per_sequence};
  buffer.row_stride = once ? 0 : uint32_t(stride);
  if (once && type.getRank() > 1)
    buffer.row_stride = uint32_t(type.getShape().back() * elementBytesOf(type.getElementType()));
  return buffers[value] = addBuffer(buffer, name);
}

uint16_t PlanBuilder::routeBuffer(Value route, uint16_t part) {
  static const char *const names[] = {"offsets", "row_token", "row_slot", "slot_row"};
  auto key = std::make_pair(route.getAsOpaquePointer(), part);
  if (auto found = routeBuffers.find(key); found != routeBuffers.end())
    return found->second;
  auto type = cast<RouteType>(route.getType());
  moec_buffer buffer = {};
  buffer.kind = MOEC_BUFFER_ROUTE;
  buffer.slot = part;
  buffer.route = routeSteps.lookup(route);
  buffer.dtype = MOEC_I32;
  buffer.bytes = part == MOEC_ROUTE_OFFSETS ? moec_extent{0, 4 * (type.getGroups() + 1), 0}
                                            : moec_extent{4 * type.getChoices(), 0, 0};
  std::string name = plan.string(plan.steps[buffer.route].name).str() + "." + names[part];
  return routeBuffers[key] = addBuffer(buffer, name);
}

// A region's operand, an input of a row program: a parameter or a value.
uint16_t PlanBuilder::operandBuffer(Value value) {
  if (auto squares = value.getDefiningOp<SquareSumsOp>())
    return squaresBuffer(squares);
  auto argument = dyn_cast<BlockArgument>(value);
  bool parameter = argument && cast<RankedTensorType>(value.getType()).hasStaticShape() && !inputOf(value) &&
                   !isPassArgument(cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue());
  return parameter ? vectorBuffer(value) : bufferOf(value);
}

// ---- steps ------------------------------------------------------------------------------------------------------

uint16_t PlanBuilder::argument(const StageArg &arg) {
  switch (arg.kind) {
  case StageArg::RowToken:
    return routeBuffer(arg.value, MOEC_ROUTE_ROW_TOKEN);
  case StageArg::RowSlot:
    return routeBuffer(arg.value, MOEC_ROUTE_ROW_SLOT);
  case StageArg::SlotRow:
    return routeBuffer(arg.value, MOEC_ROUTE_SLOT_ROW);
  case StageArg::Offsets:
    return routeBuffer(arg.value, MOEC_ROUTE_OFFSETS);
  default:
    return operandBuffer(arg.value);
  }
}

moec_step &PlanBuilder::addStep(uint16_t kind, StringRef name, ArrayRef<uint16_t> args, Operation *stage) {
  moec_step step = {};
  step.kind = kind;
  step.route = MOEC_NO_ROUTE;
  step.name = plan.addString(name);
  step.first_arg = uint32_t(plan.args.size());
  step.num_args = uint16_t(args.size());
  plan.args.insert(plan.args.end(), args.begin(), args.end());
  plan.steps.push_back(step);
  plan.stageOf.push_back(stage);
  return plan.steps.back();
}

LogicalResult PlanBuilder::addMatmul(GroupedMatmulOp op) {
  int64_t depth = op.depth(), columns = op.columns();
  std::optional<uint16_t> panels = panelBuffer(op);
  if (!panels)
    return failure();
  MatmulArgs<uint16_t> args = mapArgs<uint16_t>(
      argsOf(op), [&](const StageArg &arg) { return arg.kind == StageArg::Matrices ? *panels : argument(arg); });
  const moec_weight weight = plan.weights[plan.buffers[*panels].slot];
  moec_step &step = addStep(MOEC_STEP_MATMUL, stageName(op), listArgs(args), op);
  if (op.getRoute())
    step.route = routeSteps.lookup(op.getRoute());
  step.num_groups = uint32_t(op.groups());
  step.num_panels = weight.panels;
  step.flops_per_row = 2 * columns * depth * op.parts();
  step.bytes_per_group = int64_t(weight.bytes / weight.groups);
  return success();
}

LogicalResult PlanBuilder::addRowProgram(RowProgramOp op) {
  int64_t columns = 0;
  for (Value input : op.getInputs())
    columns += isa<RouteType>(input.getType()) ? 0 : columnsOf(cast<RankedTensorType>(input.getType()));
  for (Value result : op.getResults())
    columns += columnsOf(cast<RankedTensorType>(result.getType()));
  moec_step &step = addStep(MOEC_STEP_ROWS, stageName(op), argsFor(op), op);
  if (RowSpace space = rowSpaceOf(op.getResult(0)))
    step.route = routeSteps.lookup(space);
  step.rows_per_task = rowsPerTask(columns);
  return success();
}

LogicalResult PlanBuilder::addCombine(CombineOp op) {
  moec_step &step = addStep(MOEC_STEP_ROWS, stageName(op), argsFor(op), op);
  int64_t choices = cast<RouteType>(op.getRoute().getType()).getChoices();
  step.rows_per_task = rowsPerTask(choices * columnsOf(cast<RankedTensorType>(op.getType())));
  return success();
}

LogicalResult PlanBuilder::addDispatch(DispatchOp op) {
  if (backward() && op.getRoute().use_empty())
    return success();
  auto type = cast<RouteType>(op.getRoute().getType());
  moec_step &step = addStep(MOEC_STEP_DISPATCH, stageName(op), argsFor(op), nullptr);
  step.num_groups = uint32_t(type.getGroups());
  step.choices = uint32_t(type.getChoices());
  if (op.getRoute().use_empty()) // its lists are for the counts below alone
    step.asked = 1u << MOEC_ROLE_COUNTS;
  uint16_t index = uint16_t(plan.steps.size() - 1);
  routeSteps[op.getRoute()] = index;
  // The first dispatch of several groups is that of the experts.
  if (!op->hasAttr("moe.experts") &&
      (!resultRole(layer, op.getIds()) || resultRole(layer, op.getIds())->first != MOEC_ROLE_IDS))
    return success();
  if (plan.header.num_experts || backward())
    return success();
  plan.header.num_experts = step.num_groups;
  moec_buffer counts = {};
  counts.kind = MOEC_BUFFER_OPT_OUTPUT;
  counts.role = MOEC_ROLE_COUNTS;
  counts.dtype = MOEC_I32;
  counts.bytes = {0, 4 * type.getGroups(), 0};
  CountsArgs<uint16_t> args = {addBuffer(counts, "counts")};
  moec_step &countStep = addStep(MOEC_STEP_COUNTS, "counts", listArgs(args), nullptr);
  countStep.route = index;
  countStep.asked = 1u << MOEC_ROLE_COUNTS;
  return success();
}

// ---- places, columns and slots ----------------------------------------------------------------------------------

template <typename Op> static moec_places placesOf(Op op) {
  moec_places places = {};
  places.value = op.getValue().convertToDouble();
  places.times = op.getTimes();
  places.over = op.getOver();
  places.least = op.getLeast();
  places.most = op.getMost();
  places.group_tokens = op.getGroupTokens();
  places.mode = uint16_t(op.getMode());
  places.round = uint16_t(op.getRound());
  places.scope = uint16_t(op.getScope());
  return places;
}

LogicalResult PlanBuilder::addCapacity(CapacityOp op) {
  moec_places places = placesOf(op);
  if (Value keys = op.getKeys())
    places.flags |=
        MOEC_PLACES_KEYS | (columnsOf(cast<RankedTensorType>(keys.getType())) > 1 ? MOEC_PLACES_SLOT_KEYS : 0);
  places.flags |= op.getRanked() ? MOEC_PLACES_NEXT : 0;
  places.flags |= op.getPresent() ? MOEC_PLACES_PRESENT : 0;
  places.flags |= op.getTokenMajor() ? MOEC_PLACES_TOKEN_MAJOR : 0;
  moec_step &step = addStep(MOEC_STEP_CAPACITY, stageName(op), argsFor(op), op);
  step.places = places;
  step.num_groups = uint32_t(op.getGroups());
  step.choices = uint32_t(columnsOf(cast<RankedTensorType>(op.getIds().getType())));
  plan.header.scratch_bytes = std::max<uint32_t>(plan.header.scratch_bytes, 4 * step.num_groups); // free places
  return success();
}

LogicalResult PlanBuilder::addTopTokens(TopTokensOp op) {
  moec_places places = placesOf(op);
  places.flags |= op.getPresent() ? MOEC_PLACES_PRESENT : 0;
  moec_step &step = addStep(MOEC_STEP_TOP_TOKENS, stageName(op), argsFor(op), op);
  step.places = places;
  step.num_groups = uint32_t(columnsOf(cast<RankedTensorType>(op.getMask().getType())));
  return success();
}

LogicalResult PlanBuilder::addTokenReduce(TokenReduceOp op) {
  moec_step &step = addStep(MOEC_STEP_COLUMNS, stageName(op), argsFor(op), op);
  step.places.scope = uint16_t(op.getScope());
  step.choices = uint32_t(llvm::divideCeil(columnsOf(cast<RankedTensorType>(op.getType())), tokenReduceBlock));
  return success();
}

LogicalResult PlanBuilder::addTokenTotal(TokenTotalOp op) {
  moec_step &step = addStep(MOEC_STEP_COLUMNS, stageName(op), argsFor(op), op);
  step.places.scope = MOEC_SCOPE_BATCH;
  step.choices = uint32_t(llvm::divideCeil(cast<RankedTensorType>(op.getType()).getNumElements(), tokenReduceBlock));
  return success();
}

LogicalResult PlanBuilder::addSlots(SlotsOp op) {
  auto type = cast<RouteType>(op.getRoute().getType());
  moec_step &step = addStep(MOEC_STEP_SLOTS, stageName(op), {}, op);
  step.places.scope = uint16_t(op.getScope());
  step.num_groups = uint32_t(type.getGroups());
  step.choices = uint32_t(type.getChoices());
  routeSteps[op.getRoute()] = uint16_t(plan.steps.size() - 1);
  plan.header.num_experts += backward() ? 0 : step.num_groups; // experts of different width have a route for each class
  return success();
}

LogicalResult PlanBuilder::addSlotInputs(SlotInputsOp op) {
  moec_step &step = addStep(MOEC_STEP_ROWS, stageName(op), argsFor(op), op);
  step.route = routeSteps.lookup(op.getRoute());
  step.rows_per_task = 1;
  return success();
}

// A buffer of the caller for every result that is not the first name of a value.
bool PlanBuilder::addCopies() {
  Operation *end = layer.getBody().front().getTerminator();
  size_t before = plan.steps.size();
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    StringRef name = cast<StringAttr>(layer.getResultAttr(unsigned(i), "moe.role")).getValue();
    uint16_t role = roleOfResult(name), from = bufferOf(value);
    if (!role || plan.buffers[from].role == role)
      continue;
    moec_buffer to = plan.buffers[from];
    to.kind = MOEC_BUFFER_OPT_OUTPUT;
    to.role = role;
    CopyArgs<uint16_t> args = {from, addBuffer(to, name)};
    addStep(MOEC_STEP_COPY, ("copy_" + name.str()), listArgs(args), nullptr);
  }
  return plan.steps.size() > before;
}

// ---- the whole --------------------------------------------------------------------------------------------------

// Arrays of the caller whose rows are equally long, so that moec_layer_info has one number for all of them.
struct SharedColumns {
  StringRef label;
  SmallVector<StringRef> roles;
  StringRef first = {};
  int64_t columns = 0;

  // `role` has `found` columns; roles of other arrays are ignored.
  LogicalResult add(func::FuncOp layer, StringRef role, int64_t found) {
    if (!llvm::is_contained(roles, role))
      return success();
    if (first.empty())
      first = role, columns = found;
    if (found == columns)
      return success();
    return layer.emitOpError(label) << ": " << first << " have " << columns << " columns, " << role << " " << found;
  }
};

LogicalResult PlanBuilder::checkResults() {
  Operation *end = layer.getBody().front().getTerminator();
  llvm::SmallPtrSet<void *, 4> seen;
  int64_t hidden = 0;
  SharedColumns choices{"P5", {"ids", "weights", "expert_ids", "expert_weights"}};
  SharedColumns logits{"P7", {"logits", "probabilities", "noise"}};
  for (BlockArgument argument : layer.getArguments())
    if (cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue() == "x")
      hidden = columnsOf(cast<RankedTensorType>(argument.getType()));
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    StringRef role = cast<StringAttr>(layer.getResultAttr(i, "moe.role")).getValue();
    bool own = value.getDefiningOp() && seen.insert(value.getAsOpaquePointer()).second;
    if (!own && !backward() && !role.starts_with("saved."))
      return layer.emitOpError("P2: result ") << role << " must be made by a stage of its own";
    int64_t columns = columnsOf(cast<RankedTensorType>(value.getType()));
    if (role == "y" && columns != hidden)
      return layer.emitOpError("P2: y has ") << columns << " columns, x has " << hidden;
    if (failed(choices.add(layer, role, columns)) || failed(logits.add(layer, role, columns)))
      return failure();
  }
  for (BlockArgument argument : layer.getArguments())
    if (const LayerInput *input = inputOf(argument)) {
      int64_t columns = columnsOf(cast<RankedTensorType>(argument.getType()));
      if (failed(choices.add(layer, input->name, columns)) || failed(logits.add(layer, input->name, columns)))
        return failure();
    }
  plan.header.top_k = backward() ? plan.header.top_k : uint32_t(choices.columns);
  return success();
}

LogicalResult PlanBuilder::fillHeader(const PlanOptions &options) {
  moec_plan_header &header = plan.header;
  if (!backward())
    header.name = plan.addString(layer.getName());
  header.max_tokens = options.maxTokens;
  header.determinism = 1;
  layer.walk([&](CombineOp combine) {
    if (combine->hasAttr(unorderedAttr))
      header.determinism = 0;
  });
  for (const moec_buffer &buffer : plan.buffers) {
    if (buffer.role == MOEC_ROLE_X) {
      header.x_dtype = buffer.dtype;
      header.hidden = buffer.row_stride / moec_dtype_bytes(buffer.dtype);
    }
    if (buffer.role == MOEC_ROLE_Y || buffer.role == MOEC_ROLE_GRAD_Y)
      header.y_dtype = buffer.dtype;
  }
  auto facts = layer->getAttrOfType<DictionaryAttr>("moe.layer");
  auto hash = facts ? facts.getAs<StringAttr>("spec_hash") : StringAttr();
  if (!hash)
    return success();
  std::string bytes;
  if (hash.size() != 64 || !llvm::tryGetFromHex(hash.getValue(), bytes))
    return layer.emitOpError("P6: spec_hash must be 64 hex digits, found \"") << hash.getValue() << "\"";
  std::copy(bytes.begin(), bytes.end(), header.spec_hash);
  return success();
}

LogicalResult PlanBuilder::checkLimits() {
  size_t args = 0, routes = 0;
  for (const moec_step &step : plan.steps) {
    args = std::max<size_t>(args, step.num_args);
    routes += step.kind == MOEC_STEP_DISPATCH || step.kind == MOEC_STEP_SLOTS;
  }
  if (plan.buffers.size() > maxBuffers || plan.steps.size() > maxSteps || args > maxArgs || routes > maxRoutes)
    return layer.emitOpError("P3: ") << plan.buffers.size() << " buffers, " << plan.steps.size() << " steps, " << args
                                     << " arguments of a step, " << routes << " routes; at most " << maxBuffers << ", "
                                     << maxSteps << ", " << maxArgs << ", " << maxRoutes;
  for (const moec_buffer &buffer : plan.buffers)
    if (std::max(buffer.bytes.per_token, buffer.bytes.per_sequence) >
        maxBytes / std::max<int64_t>(plan.header.max_tokens, 1))
      return layer.emitOpError("P3: buffer ")
             << plan.string(buffer.name) << " has " << buffer.bytes.per_token << " bytes per token, too many for "
             << plan.header.max_tokens << " tokens";
  return success();
}

LogicalResult PlanBuilder::run(const PlanOptions &options) {
  if (options.forward) {
    const LaunchPlan &forward = *options.forward;
    plan.strings = forward.strings;
    plan.roles = forward.roles;
    plan.weights = forward.weights;
    plan.roleOfName = forward.roleOfName;
    plan.regionOfKey = forward.regionOfKey;
    plan.header.pass = MOEC_PASS_BACKWARD;
    plan.header.name = forward.header.name;
    plan.header.features = forward.header.features & MOEC_FEATURE_ROLE_PER_GROUP;
    plan.header.num_experts = forward.header.num_experts;
    plan.header.top_k = forward.header.top_k;
  }
  nameStages(layer); // hand-written stages may come without names
  if (failed(checkResults()))
    return failure();
  for (BlockArgument argument : layer.getArguments()) {
    StringRef role = cast<StringAttr>(layer.getArgAttr(argument.getArgNumber(), "moe.role")).getValue();
    if (role == "x" || isPassArgument(role))
      bufferOf(argument); // used or not; x is buffer 0
  }
  for (Operation &op : layer.getBody().front().without_terminator()) {
    size_t before = plan.steps.size();
    LogicalResult added = llvm::TypeSwitch<Operation *, LogicalResult>(&op)
                              .Case([&](GroupedMatmulOp matmul) { return addMatmul(matmul); })
                              .Case([&](RowProgramOp program) { return addRowProgram(program); })
                              .Case([&](CombineOp combine) { return addCombine(combine); })
                              .Case([&](DispatchOp dispatch) { return addDispatch(dispatch); })
                              .Case([&](CapacityOp capacity) { return addCapacity(capacity); })
                              .Case([&](TopTokensOp top) { return addTopTokens(top); })
                              .Case([&](TokenReduceOp reduce) { return addTokenReduce(reduce); })
                              .Case([&](TokenTotalOp total) { return addTokenTotal(total); })
                              .Case([&](SlotsOp slots) { return addSlots(slots); })
                              .Case([&](SlotInputsOp inputs) { return addSlotInputs(inputs); })
                              .Case([&](GroupedOuterOp outer) { return addOuter(outer); })
                              .Case([&](GroupSumOp sum) { return addGroupSum(sum); })
                              .Case([&](SlotValuesOp values) { return addSlotValues(values); })
                              .Case([&](SlotProductsOp products) { return addSlotProducts(products); })
                              .Case([&](ParameterSumOp sum) { return addParameterSum(sum); })
                              .Case([&](ScaledRowsOp scaled) { return addScaledRows(scaled); })
                              .Case([&](RowsOfOp) { return success(); })     // where the caller has them
                              .Case([&](SquareSumsOp) { return success(); }) // made when weights are packed
                              .Default([](Operation *other) { return other->emitOpError("is not a stage"); });
    if (failed(added) || failed(weightStatus))
      return failure();
    for (uint32_t asked = reports.askedBy(&op); before < plan.steps.size(); ++before)
      plan.steps[before].asked |= asked;
  }
  addCopies();
  if (failed(addGradients()) || failed(weightStatus))
    return failure();
  if (failed(fillHeader(options)) || failed(finishWeights()) || failed(checkLimits()))
    return failure();
  assignSlots(plan);
  return success();
}

LogicalResult planStages(func::FuncOp layer, const PlanOptions &options, LaunchPlan &plan) {
  return PlanBuilder(layer, plan).run(options);
}

void finishSchedule(LaunchPlan &plan) {
  moec_plan_header &header = plan.header;
  header.isa_mask = (1u << MOEC_NUM_ISAS) - 1;
  for (const moec_step &step : plan.steps)
    for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
      if (isKernelStep(step) && !step.isa[isa].num_variants)
        header.isa_mask &= ~(1u << isa);
  header.items = {};
  for (const moec_step &step : plan.steps)
    for (unsigned isa = 0; isa < MOEC_NUM_ISAS && step.kind == MOEC_STEP_MATMUL; ++isa) {
      const moec_isa_variants &variants = step.isa[isa];
      if (!variants.num_variants || !variants.max_rows)
        continue;
      bool routed = step.route != MOEC_NO_ROUTE;
      int64_t rowsPerToken = routed ? plan.steps[step.route].choices : 1;
      int64_t groups = routed ? plan.steps[step.route].num_groups : 1;
      header.items.per_token =
          std::max<int64_t>(header.items.per_token, int64_t(llvm::divideCeil(rowsPerToken, variants.max_rows)));
      header.items.fixed = std::max(header.items.fixed, groups);
    }
}

} // namespace moec
