// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/LayerArguments.h"

#include "codegen/build/ExpertClasses.h"
#include "codegen/moe/LayerInputs.h"

using namespace mlir;

namespace moec {

namespace {

// ---- words of moe.storage ---------------------------------------------------------------------------------------

StringRef wordOf(StackKind stack) {
  switch (stack) {
  case StackKind::Single:
    return "single";
  case StackKind::PerExpert:
    return "per_expert";
  case StackKind::Stacked:
    return "stacked";
  case StackKind::InterleavedColumns:
    return "interleaved_columns";
  case StackKind::FlatRows:
    return "flat_rows";
  }
  llvm_unreachable("every stack is above");
}

StringRef wordOf(AxesKind axes) { return axes == AxesKind::OutIn ? "out_in" : "in_out"; }

StringRef wordOf(PartKind part) {
  switch (part) {
  case PartKind::All:
    return "all";
  case PartKind::FirstHalf:
    return "first_half";
  case PartKind::SecondHalf:
    return "second_half";
  case PartKind::Even:
    return "even";
  case PartKind::Odd:
    return "odd";
  }
  llvm_unreachable("every part is above");
}

// ---- lists ------------------------------------------------------------------------------------------------------

class ArgumentList {
public:
  ArgumentList(RowOps &ops, const LayerSpec &spec, Builder attributes) : ops(ops), spec(spec), attributes(attributes) {}

  std::vector<LayerArgument> run() {
    add("x", ops.rows(ops.elementOf(spec.dtype.activation), spec.hidden));
    for (const std::string &name : spec.inputNames())
      add(name, inputType(name));
    for (const Role &role : rolesOf(spec))
      addRole(role);
    return std::move(list);
  }

private:
  RowOps &ops;
  const LayerSpec &spec;
  Builder attributes;
  std::vector<LayerArgument> list;

  LayerArgument &add(const std::string &name, RankedTensorType type) {
    list.push_back({name, type, {}, {}});
    return list.back();
  }

  RankedTensorType inputType(const std::string &name) {
    const LayerInput &input = *findLayerInput(name);
    Type element = input.integer ? ops.i32() : ops.f32();
    switch (input.shape) {
    case InputShape::LikeX:
      return ops.rows(ops.elementOf(spec.dtype.activation), spec.hidden);
    case InputShape::Rows:
      return ops.rows(element, spec.inputColumns(name));
    case InputShape::One:
      return RankedTensorType::get({1}, element);
    case InputShape::Tokens:
      return ops.rowVector(element);
    }
    llvm_unreachable("every shape is above");
  }

  void addRole(const Role &role) {
    Type element = ops.elementOf(storedType(spec, role));
    if (!role.expertAxis || !spec.experts.heterogeneous()) {
      bool stacked = role.expertAxis || (!role.matrix && role.shape.size() == 2);
      LayerArgument &argument = add(role.name, RankedTensorType::get(role.shape, element));
      argument.storage = storageOf(role, stacked ? StackKind::Stacked : StackKind::Single);
      return;
    }
    size_t number = 0;
    for (const ExpertClass &members : expertClasses(spec.experts)) {
      LayerArgument &argument =
          add(classRole(role.name, number++), RankedTensorType::get(shapeOf(role, members), element));
      argument.members = membersOf(role, members);
      argument.storage = storageOf(role, StackKind::PerExpert);
    }
  }

  // The shape of a class's part of a role. An extent of -1 becomes the class's width.
  static SmallVector<int64_t> shapeOf(const Role &role, const ExpertClass &members) {
    SmallVector<int64_t> shape(role.shape.begin(), role.shape.end());
    shape[0] = int64_t(members.experts.size());
    for (int64_t &extent : shape)
      extent = extent < 0 ? members.width : extent;
    return shape;
  }

  NamedAttribute entry(StringRef name, Attribute value) { return attributes.getNamedAttr(name, value); }
  NamedAttribute entry(StringRef name, StringRef word) { return entry(name, attributes.getStringAttr(word)); }

  DictionaryAttr membersOf(const Role &role, const ExpertClass &members) {
    SmallVector<int64_t> shapes;
    for (int64_t e : members.experts)
      for (int64_t extent : ArrayRef(role.shape).drop_front())
        shapes.push_back(extent < 0 ? spec.experts.width(e) : extent);
    return attributes.getDictionaryAttr({entry("role", role.name),
                                         entry("experts", attributes.getDenseI64ArrayAttr(members.experts)),
                                         entry("shapes", attributes.getDenseI64ArrayAttr(shapes))});
  }

  // Null if the spec does not say where the role is stored.
  DictionaryAttr storageOf(const Role &role, StackKind otherwise) {
    auto found = spec.weights.find(role.name);
    if (found == spec.weights.end())
      return {};
    const WeightStorage &storage = found->second;
    return attributes.getDictionaryAttr({entry("tensor", storage.tensor),
                                         entry("stack", wordOf(storage.stack.value_or(otherwise))),
                                         entry("axes", wordOf(storage.axes)), entry("part", wordOf(storage.part))});
  }
};

} // namespace

std::vector<LayerArgument> argumentsOf(RowOps &ops, const LayerSpec &spec) {
  return ArgumentList(ops, spec, Builder(ops.f32().getContext())).run();
}

} // namespace moec
