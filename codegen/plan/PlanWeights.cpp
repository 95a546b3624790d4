// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters -> roles (what the caller supplies) and regions of the packed weights.

#include "codegen/plan/PlanBuilder.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {

using namespace moe;

namespace {

constexpr uint64_t regionAlign = 4096, maxPackedBytes = uint64_t(1) << 50;
constexpr size_t maxRoles = 65535;

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

std::string textOf(DictionaryAttr storage, StringRef key, StringRef missing) {
  auto text = storage ? storage.getAs<StringAttr>(key) : StringAttr();
  return text ? text.getValue().str() : missing.str();
}

} // namespace

// P1. Without storage a role is a tensor of its own name, stacked on its expert axis, out_in.
LogicalResult PlanBuilder::readStorage(StringRef name, DictionaryAttr storage, moec_role &role) {
  std::string stack = textOf(storage, "stack", role.expert_axis ? "stacked" : "single");
  std::string axes = textOf(storage, "axes", "out_in"), part = textOf(storage, "part", "all");
  int stackCode = llvm::StringSwitch<int>(stack)
                      .Case("single", MOEC_STACK_SINGLE)
                      .Case("per_expert", MOEC_STACK_PER_EXPERT)
                      .Case("stacked", MOEC_STACK_STACKED)
                      .Case("flat_rows", MOEC_STACK_FLAT_ROWS)
                      .Case("interleaved_columns", MOEC_STACK_INTERLEAVED_COLUMNS)
                      .Default(-1);
  int axesCode =
      llvm::StringSwitch<int>(axes).Case("out_in", MOEC_AXES_OUT_IN).Case("in_out", MOEC_AXES_IN_OUT).Default(-1);
  int partCode = llvm::StringSwitch<int>(part)
                     .Case("all", MOEC_PART_ALL)
                     .Case("first_half", MOEC_PART_FIRST_HALF)
                     .Case("second_half", MOEC_PART_SECOND_HALF)
                     .Case("even", MOEC_PART_EVEN)
                     .Case("odd", MOEC_PART_ODD)
                     .Default(-1);
  if (stackCode < 0 || axesCode < 0 || partCode < 0)
    return layer.emitOpError("P1: parameter ")
           << name << " has stack \"" << stack << "\", axes \"" << axes << "\", part \"" << part
           << "\"; expected single, per_expert, stacked, flat_rows or interleaved_columns; out_in or in_out; all, "
              "first_half, second_half, even or odd";
  if (stackCode != MOEC_STACK_SINGLE && !role.expert_axis)
    return layer.emitOpError("P1: parameter ") << name << " has stack " << stack << " but no expert axis";
  if (stackCode == MOEC_STACK_INTERLEAVED_COLUMNS && !role.matrix)
    return layer.emitOpError("P1: parameter ") << name << " has stack " << stack << " but is not a matrix";
  role.stack = uint16_t(stackCode);
  role.axes = uint16_t(axesCode);
  role.part = uint16_t(partCode);
  role.tensor = plan.addString(textOf(storage, "tensor", name));
  return success();
}

std::optional<uint16_t> PlanBuilder::roleOf(Value parameter, bool matrix) {
  auto argument = dyn_cast<BlockArgument>(parameter);
  if (!argument || !typeOf(parameter).hasStaticShape()) {
    layer.emitOpError("P4: weights must be parameters of the layer");
    return std::nullopt;
  }
  unsigned index = argument.getArgNumber();
  StringRef name = cast<StringAttr>(layer.getArgAttr(index, "moe.role")).getValue();
  RankedTensorType type = typeOf(parameter);
  moec_role role = {};
  role.rank = uint16_t(type.getRank());
  role.matrix = matrix;
  role.expert_axis = type.getRank() == (matrix ? 3 : 2);
  std::copy(type.getShape().begin(), type.getShape().end(), role.dims);
  if (auto found = plan.roleOfName.find(name.str()); found != plan.roleOfName.end()) {
    if (plan.roles[found->second].matrix == role.matrix)
      return found->second;
    layer.emitOpError("P4: parameter ") << name << " is used as a matrix and as a vector";
    return std::nullopt;
  }
  if ((!matrix && !type.getElementType().isF32()) || (!matrix && type.getRank() > 2)) {
    layer.emitOpError("P4: parameter ") << name << " is used as a vector, which must be f32 of rank 1 or 2, found "
                                        << type;
    return std::nullopt;
  }
  size_t first = plan.roles.size(), count = hasMembers(parameter) ? size_t(type.getDimSize(0)) : 1;
  if (first + count > maxRoles) {
    layer.emitOpError("P3: more than ") << maxRoles << " tensors of parameters";
    return std::nullopt;
  }
  if (hasMembers(parameter)) {
    if (failed(addMembers(index, role)))
      return std::nullopt;
    return plan.roleOfName[name.str()] = uint16_t(first);
  }
  role.name = plan.addString(name);
  if (failed(readStorage(name, layer.getArgAttrOfType<DictionaryAttr>(index, "moe.storage"), role)))
    return std::nullopt;
  plan.roles.push_back(role);
  return plan.roleOfName[name.str()] = uint16_t(first);
}

bool PlanBuilder::hasMembers(Value parameter) {
  return bool(layer.getArgAttrOfType<DictionaryAttr>(cast<BlockArgument>(parameter).getArgNumber(), "moe.members"));
}

// One role NAME.e for each expert of a class, of that expert's own shape and in a tensor of its own.
LogicalResult PlanBuilder::addMembers(unsigned index, moec_role role) {
  auto members = layer.getArgAttrOfType<DictionaryAttr>(index, "moe.members");
  auto storage = layer.getArgAttrOfType<DictionaryAttr>(index, "moe.storage");
  std::string base = members.getAs<StringAttr>("role").getValue().str(),
              pattern = textOf(storage, "tensor", base + ".{e}");
  ArrayRef<int64_t> experts = members.getAs<DenseI64ArrayAttr>("experts"),
                    shapes = members.getAs<DenseI64ArrayAttr>("shapes");
  if (failed(readStorage(base, storage, role)))
    return failure();
  role.rank -= 1;
  role.expert_axis = 0;
  role.stack = MOEC_STACK_SINGLE;
  for (auto [i, expert] : llvm::enumerate(experts)) {
    std::string number = std::to_string(expert), tensor = pattern;
    for (size_t at = tensor.find("{e}"); at != std::string::npos; at = tensor.find("{e}", at))
      tensor.replace(at, 3, number);
    role.name = plan.appendString(base + "." + number);
    role.tensor = plan.appendString(tensor);
    std::fill(std::begin(role.dims), std::end(role.dims), 0);
    std::copy_n(shapes.begin() + ptrdiff_t(i * role.rank), role.rank, role.dims);
    plan.roles.push_back(role);
  }
  plan.header.features |= MOEC_FEATURE_ROLE_PER_GROUP;
  return success();
}

uint16_t PlanBuilder::weightBuffer(moec_weight weight, const std::string &name) {
  std::string key = (weight.transposed                     ? "transposed panels "
                     : weight.layout == MOEC_LAYOUT_PANELS ? "panels "
                                                           : "vector ") +
                    name;
  auto [found, isNew] = plan.regionOfKey.try_emplace(key, uint16_t(plan.weights.size()));
  if (auto known = weightBuffers.find(found->second); known != weightBuffers.end())
    return known->second;
  if (isNew) {
    finishWeightLayout(weight);
    shareMatrices(weight);
    plan.weights.push_back(weight);
  }
  weight = plan.weights[found->second];
  moec_buffer buffer = {};
  buffer.kind = MOEC_BUFFER_WEIGHT;
  buffer.slot = found->second;
  buffer.dtype = weight.dtype;
  buffer.bytes = {0, int64_t(weight.bytes), 0};
  if (weight.layout == MOEC_LAYOUT_VECTOR)
    buffer.row_stride = weight.n_padded * 4; // from one group to the next
  return weightBuffers[found->second] = addBuffer(buffer, name);
}

// Transposed matrices are those of the region that has the role, read in the other order.
void PlanBuilder::shareMatrices(moec_weight &weight) {
  bool may = weight.transposed && weight.parts == 1; // as kernels transpose them
  std::optional<SharedMatrices> shared = may ? sharedMatrices(plan.weights, weight) : std::nullopt;
  if (!shared)
    return;
  weight.derived = MOEC_DERIVED_SHARED;
  weight.bytes = plan.weights[shared->owner].bytes;
}

std::optional<uint16_t> PlanBuilder::panelBuffer(GroupedMatmulOp op) {
  RankedTensorType type = typeOf(op.getB().front());
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_PANELS;
  weight.dtype = typeCodeOf(type.getElementType());
  weight.parts = uint16_t(op.parts());
  weight.groups = uint32_t(op.groups());
  weight.n = uint32_t(op.columns());
  weight.k = uint32_t(op.depth());
  weight.transposed = op.getTransposed();
  std::string name;
  for (auto [i, part] : llvm::enumerate(op.getB())) {
    std::optional<uint16_t> role = roleOf(part, /*matrix=*/true);
    if (!role)
      return std::nullopt;
    weight.role[i] = *role;
    weight.role_per_group = hasMembers(part);
    name += (i ? "+" : "") + plan.string(plan.roles[*role].name).str();
  }
  return weightBuffer(weight, name);
}

std::optional<uint16_t> PlanBuilder::matrixBuffer(Value parameter) {
  std::optional<uint16_t> role = roleOf(parameter, /*matrix=*/true);
  if (!role)
    return std::nullopt;
  RankedTensorType type = typeOf(parameter);
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_PANELS;
  weight.dtype = typeCodeOf(type.getElementType());
  weight.parts = 1;
  weight.role[0] = *role;
  weight.groups = type.getRank() == 3 ? uint32_t(type.getDimSize(0)) : 1;
  weight.n = uint32_t(type.getDimSize(type.getRank() - 2));
  weight.k = uint32_t(type.getShape().back());
  weight.role_per_group = hasMembers(parameter);
  return weightBuffer(weight, plan.string(plan.roles[*role].name).str());
}

uint16_t PlanBuilder::vectorBuffer(Value parameter) {
  std::optional<uint16_t> role = roleOf(parameter, /*matrix=*/false);
  if (!role) {
    weightStatus = failure();
    return 0;
  }
  RankedTensorType type = typeOf(parameter);
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_VECTOR;
  weight.parts = 1;
  weight.role[0] = *role;
  weight.role_per_group = hasMembers(parameter);
  weight.groups = type.getRank() == 2 ? uint32_t(type.getDimSize(0)) : 1;
  weight.n = uint32_t(type.getShape().back());
  weight.k = 1;
  return weightBuffer(weight, plan.string(plan.roles[*role].name).str());
}

// A parameter that is a matrix elsewhere, and here the sums of its rows' squares.
uint16_t PlanBuilder::squaresBuffer(SquareSumsOp op) {
  std::optional<uint16_t> role = roleOf(op.getMatrix(), /*matrix=*/true);
  if (!role) {
    weightStatus = failure();
    return 0;
  }
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_VECTOR;
  weight.derived = MOEC_DERIVED_SQUARES;
  weight.parts = 1;
  weight.role[0] = *role;
  weight.groups = 1;
  weight.n = uint32_t(typeOf(op.getMatrix()).getDimSize(0));
  weight.k = 1;
  return weightBuffer(weight, "squares of " + plan.string(plan.roles[*role].name).str());
}

LogicalResult PlanBuilder::finishWeights() {
  uint64_t end = regionAlign; // the runtime's header page
  for (moec_weight &weight : plan.weights) {
    if (weight.derived == MOEC_DERIVED_SHARED) {
      weight.offset = plan.weights[sharedMatrices(plan.weights, weight)->owner].offset;
      continue;
    }
    weight.offset = end;
    end = llvm::alignTo(end + weight.bytes, regionAlign);
    if (end > maxPackedBytes)
      return layer.emitOpError("P3: the packed weights have more than 2^50 bytes");
  }
  plan.header.packed_bytes = end;
  return success();
}

} // namespace moec
