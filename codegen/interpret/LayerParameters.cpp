// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.role and moe.members of a layer's arguments, and what their users say about them.

#include "codegen/interpret/LayerParameters.h"

#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <set>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

static std::string roleOf(func::FuncOp layer, unsigned index) {
  auto role = layer.getArgAttrOfType<StringAttr>(index, "moe.role");
  return role ? role.getValue().str() : std::string();
}

int64_t numGroups(func::FuncOp layer) {
  int64_t groups = 1;
  for (DispatchOp dispatch : layer.getBody().front().getOps<DispatchOp>()) {
    int64_t own = cast<RouteType>(dispatch.getRoute().getType()).getGroups();
    if (dispatch->hasAttr("moe.experts"))
      return own;
    groups = std::max(groups, own);
  }
  return groups;
}

static bool isMatrix(Value parameter) {
  return llvm::any_of(parameter.getUsers(), [&](Operation *user) {
    auto matmul = dyn_cast<GroupedMatmulOp>(user);
    return matmul && llvm::is_contained(matmul.getB(), parameter);
  });
}

// Rows that lookup reads and a region turns into integers.
static bool holdsIds(Value parameter) {
  for (Operation *user : parameter.getUsers())
    if (auto lookup = dyn_cast<LookupOp>(user); lookup && lookup.getTable() == parameter)
      for (Operation *reader : lookup.getResult().getUsers())
        if (auto map = dyn_cast<MapOp>(reader); map && !map.getBody().front().getOps<arith::FPToSIOp>().empty())
          return true;
  return false;
}

std::vector<LayerParameter> parametersOf(func::FuncOp layer) {
  std::vector<LayerParameter> parameters;
  std::set<std::string> seen;
  Block &block = layer.getBody().front();
  for (unsigned i = 0; i < layer.getNumArguments(); ++i) {
    std::string role = roleOf(layer, i);
    if (role == "x" || findLayerInput(role))
      continue;
    auto type = cast<RankedTensorType>(layer.getArgumentTypes()[i]);
    LayerParameter parameter;
    parameter.role = role;
    parameter.shape = type.getShape().vec();
    parameter.element = type.getElementType();
    parameter.argument = i;
    parameter.matrix = isMatrix(block.getArgument(i));
    parameter.idsBelow = holdsIds(block.getArgument(i)) ? numGroups(layer) : 0;
    auto members = layer.getArgAttrOfType<DictionaryAttr>(i, "moe.members");
    if (!members) {
      if (seen.insert(role).second)
        parameters.push_back(parameter);
      continue;
    }
    std::string base = members.getAs<StringAttr>("role").getValue().str();
    ArrayRef<int64_t> shapes = members.getAs<DenseI64ArrayAttr>("shapes");
    size_t rank = parameter.shape.size() - 1;
    for (auto [g, expert] : llvm::enumerate(members.getAs<DenseI64ArrayAttr>("experts").asArrayRef())) {
      parameter.role = base + "." + std::to_string(expert);
      parameter.shape = shapes.slice(g * rank, rank).vec();
      if (seen.insert(parameter.role).second)
        parameters.push_back(parameter);
    }
  }
  return parameters;
}

TensorRef argumentValue(func::FuncOp layer, unsigned index, const std::function<TensorRef(const std::string &)> &find) {
  std::string role = roleOf(layer, index);
  auto members = layer.getArgAttrOfType<DictionaryAttr>(index, "moe.members");
  auto type = cast<RankedTensorType>(layer.getArgumentTypes()[index]);
  if (!members) {
    TensorRef given = find(role);
    bool fits = given && int64_t(given->data.size()) == type.getNumElements();
    if (!fits)
      return nullptr;
    auto out = std::make_shared<Tensor>(*given);
    out->shape = type.getShape().vec();
    return out;
  }
  auto out = std::make_shared<Tensor>();
  out->shape = type.getShape().vec();
  out->data.resize(size_t(type.getNumElements()));
  std::string base = members.getAs<StringAttr>("role").getValue().str();
  // [G,N] counts as [G,1,N]
  bool wide = out->shape.size() == 3;
  int64_t rows = wide ? out->shape[1] : 1, columns = out->shape.back();
  ArrayRef<int64_t> shapes = members.getAs<DenseI64ArrayAttr>("shapes");
  for (auto [g, expert] : llvm::enumerate(members.getAs<DenseI64ArrayAttr>("experts").asArrayRef())) {
    TensorRef given = find(base + "." + std::to_string(expert));
    int64_t ownRows = wide ? shapes[2 * g] : 1, ownColumns = wide ? shapes[2 * g + 1] : shapes[g];
    if (!given || int64_t(given->data.size()) != ownRows * ownColumns)
      return nullptr;
    for (int64_t r = 0; r < ownRows; ++r)
      std::copy_n(given->data.begin() + r * ownColumns, ownColumns,
                  out->data.begin() + (int64_t(g) * rows + r) * columns);
  }
  return out;
}

void eachTensor(func::FuncOp layer, unsigned index, const TensorRef &value,
                const std::function<void(const std::string &, TensorRef)> &visit) {
  auto members = layer.getArgAttrOfType<DictionaryAttr>(index, "moe.members");
  if (!members)
    return visit(roleOf(layer, index), value);
  std::string base = members.getAs<StringAttr>("role").getValue().str();
  bool wide = value->shape.size() == 3;
  int64_t rows = wide ? value->shape[1] : 1, columns = value->shape.back();
  ArrayRef<int64_t> shapes = members.getAs<DenseI64ArrayAttr>("shapes");
  for (auto [g, expert] : llvm::enumerate(members.getAs<DenseI64ArrayAttr>("experts").asArrayRef())) {
    auto part = std::make_shared<Tensor>();
    int64_t ownRows = wide ? shapes[2 * g] : 1, ownColumns = wide ? shapes[2 * g + 1] : shapes[g];
    part->shape = wide ? std::vector<int64_t>{ownRows, ownColumns} : std::vector<int64_t>{ownColumns};
    for (int64_t r = 0; r < ownRows; ++r) {
      auto from = value->data.begin() + (int64_t(g) * rows + r) * columns;
      part->data.insert(part->data.end(), from, from + ownColumns);
    }
    visit(base + "." + std::to_string(expert), part);
  }
}

} // namespace moec::interpret
