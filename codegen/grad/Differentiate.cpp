// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/grad/Differentiate.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/grad/GradientRules.h"
#include "codegen/moe/LayerInputs.h"

#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace moec {

using namespace moe;

bool isDifferentiable(StringRef input) { return input == "x" || input == "residual" || input == "expert_weights"; }

namespace {

StringRef roleOf(func::FuncOp layer, unsigned argument) {
  return layer.getArgAttrOfType<StringAttr>(argument, "moe.role").getValue();
}

DictionaryAttr membersOf(func::FuncOp layer, unsigned argument) {
  return layer.getArgAttrOfType<DictionaryAttr>(argument, "moe.members");
}

// The role of a parameter's tensors: its own, or that of its members.
StringRef roleOfTensors(func::FuncOp layer, unsigned argument) {
  DictionaryAttr members = membersOf(layer, argument);
  return members ? members.getAs<StringAttr>("role").getValue() : roleOf(layer, argument);
}

// Groups of a parameter [G,...] without a gradient.
SmallVector<int64_t> frozenGroups(func::FuncOp layer, unsigned argument, const Frozen &frozen) {
  auto type = cast<RankedTensorType>(layer.getArgumentTypes()[argument]);
  DictionaryAttr members = membersOf(layer, argument);
  SmallVector<int64_t> groups, experts;
  if (!frozen.experts || type.getRank() < 2)
    return groups;
  for (int64_t g = 0; g < type.getDimSize(0); ++g)
    experts.push_back(members ? members.getAs<DenseI64ArrayAttr>("experts")[g] : g);
  std::vector<bool> flags = frozen.experts(roleOfTensors(layer, argument), *llvm::max_element(experts) + 1);
  for (auto [g, expert] : llvm::enumerate(experts))
    if (!flags.empty() && flags[size_t(expert)])
      groups.push_back(int64_t(g));
  return groups;
}

bool isFrozenParameter(func::FuncOp layer, unsigned argument, const Frozen &frozen) {
  auto type = cast<RankedTensorType>(layer.getArgumentTypes()[argument]);
  return (frozen.whole && frozen.whole(roleOfTensors(layer, argument))) ||
         int64_t(frozenGroups(layer, argument, frozen).size()) == type.getDimSize(0);
}

// Arguments whose gradients are wanted.
SmallVector<BlockArgument> wantedOf(func::FuncOp layer, const GradientOptions &options) {
  SmallVector<BlockArgument> wanted;
  for (BlockArgument argument : layer.getArguments()) {
    StringRef role = roleOf(layer, argument.getArgNumber());
    auto type = cast<RankedTensorType>(argument.getType());
    bool input = role == "x" || findLayerInput(role);
    bool parameter = !input && options.parameters && !isFrozenParameter(layer, argument.getArgNumber(), options.frozen);
    if (isa<FloatType>(type.getElementType()) && (input ? isDifferentiable(role) : parameter))
      wanted.push_back(argument);
  }
  return wanted;
}

// What depends on them through ops that pass gradients on.
llvm::DenseSet<Value> dependentsOf(func::FuncOp layer, ArrayRef<BlockArgument> wanted) {
  llvm::DenseSet<Value> active(wanted.begin(), wanted.end());
  for (Operation &op : layer.getBody().front().without_terminator())
    for (OpOperand &operand : op.getOpOperands())
      if (active.contains(operand.get()) && GradientRules::passesTo(operand))
        active.insert(op.result_begin(), op.result_end());
  return active;
}

BlockArgument appendArgument(func::FuncOp layer, RankedTensorType type, StringRef role) {
  unsigned index = layer.getNumArguments();
  auto attribute = StringAttr::get(layer.getContext(), role);
  DictionaryAttr attributes = DictionaryAttr::get(
      layer.getContext(), NamedAttribute(StringAttr::get(layer.getContext(), "moe.role"), attribute));
  (void)layer.insertArgument(index, type, attributes, layer.getLoc());
  return layer.getArgument(index);
}

std::optional<unsigned> resultOf(func::FuncOp layer, StringRef role) {
  for (unsigned i = 0; i < layer.getNumResults(); ++i)
    if (layer.getResultAttrOfType<StringAttr>(i, "moe.role").getValue() == role)
      return i;
  return std::nullopt;
}

void appendResult(func::FuncOp layer, Value value, const std::string &role) {
  Operation *end = layer.getBody().front().getTerminator();
  unsigned index = layer.getNumResults();
  auto attribute = StringAttr::get(layer.getContext(), role);
  (void)layer.insertResult(
      index, value.getType(),
      DictionaryAttr::get(layer.getContext(),
                          NamedAttribute(StringAttr::get(layer.getContext(), "moe.role"), attribute)));
  end->insertOperands(end->getNumOperands(), value);
}

Result<> loadDerivatives(func::FuncOp layer, FunctionLibrary &functions) {
  std::optional<Diagnostic> error;
  layer.walk([&](ApplyOp op) {
    if (!op.getDerivative() || error)
      return;
    if (Result<> loaded = functions.loadDerivative(op.getFunction()); !loaded)
      error = loaded.takeError();
  });
  return error ? Result<>(std::move(*error)) : Result<>();
}

} // namespace

Result<> differentiate(func::FuncOp layer, FunctionLibrary &functions, const GradientOptions &options) {
  CapturedDiagnostics said(*layer.getContext(), "E-INTERNAL");
  SmallVector<BlockArgument> wanted = wantedOf(layer, options);
  llvm::DenseSet<Value> active = dependentsOf(layer, wanted);
  Operation *end = layer.getBody().front().getTerminator();
  SmallVector<Operation *> forward;
  for (Operation &op : layer.getBody().front().without_terminator())
    forward.push_back(&op);

  OpBuilder builder(end);
  std::vector<Diagnostic> none;
  FunctionUses uses(functions, none, FunctionUses::Form::Apply);
  GradientRules::FrozenGroups frozen;
  for (BlockArgument argument : wanted)
    if (auto groups = frozenGroups(layer, argument.getArgNumber(), options.frozen); !groups.empty())
      frozen[argument] = groups;
  GradientRules rules(builder, uses, active, frozen);
  RowOps ops(builder, uses);
  Value y = end->getOperand(*resultOf(layer, "y"));
  Value dy = appendArgument(layer, cast<RankedTensorType>(y.getType()), "grad.y");
  bool narrow = !RowOps::typeOf(dy).getElementType().isF32();
  rules.add(y, narrow
                   ? ops.map({{dy, OperandKind::elem}}, gradientType(dy), [&](ValueRange v) { return ops.toF32(v[0]); })
                   : dy);
  if (std::optional<unsigned> losses = resultOf(layer, "losses")) {
    Value values = end->getOperand(*losses);
    rules.add(values, appendArgument(layer, RowOps::typeOf(values), "grad.losses"));
  }
  for (Operation *op : llvm::reverse(forward))
    if (failed(rules.differentiate(op)))
      return said.takeFirst("an op has no gradient rule");

  for (BlockArgument argument : wanted)
    if (Value gradient = rules.gradientOf(argument))
      appendResult(layer, gradient, "grad." + roleOf(layer, argument.getArgNumber()).str());
  eraseUnused(layer.getBody().front());
  if (Result<> loaded = loadDerivatives(layer, functions); !loaded)
    return loaded.takeError();
  functions.expand(layer);
  if (failed(mlir::verify(layer)))
    return said.takeFirst("the gradients do not verify");
  return {};
}

} // namespace moec
