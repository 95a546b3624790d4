// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer's function: arguments by role, router, experts, shared experts, results; and the pieces all parts use.

#include "codegen/moe/LayerBuilder.h"
#include "codegen/moe/LayerIdentity.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// ---- types and ops ----------------------------------------------------------------------------------------------

Type LayerBuilder::typeOf(DataType type) {
  return type == DataType::BF16  ? Type(builder.getBF16Type())
         : type == DataType::F16 ? Type(builder.getF16Type())
                                 : Type(builder.getF32Type());
}

RankedTensorType LayerBuilder::rows(Type element, int64_t columns) {
  return RankedTensorType::get({ShapedType::kDynamic, columns}, element);
}

RankedTensorType LayerBuilder::rowVector(Type element) {
  return RankedTensorType::get({ShapedType::kDynamic}, element);
}

Value LayerBuilder::map(ArrayRef<Bound> operands, RankedTensorType type, ScalarFn body) {
  SmallVector<Value> values;
  SmallVector<OperandKind> kinds;
  for (const Bound &operand : operands) {
    values.push_back(operand.value);
    kinds.push_back(operand.kind);
  }
  auto op = moe::MapOp::create(builder, loc, type, values, moe::kindArray(builder.getContext(), kinds));
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody());
  for (Value value : values)
    block->addArgument(cast<RankedTensorType>(value.getType()).getElementType(), loc);
  moe::YieldOp::create(builder, loc, body(block->getArguments()));
  return op;
}

Value LayerBuilder::matmul(Value a, Value b, Value route) {
  ArrayAttr none = builder.getArrayAttr({});
  int64_t columns = cast<RankedTensorType>(b.getType()).getShape().drop_back().back();
  return moe::GroupedMatmulOp::create(builder, loc, rows(builder.getF32Type(), columns), a, b, route, ValueRange(),
                                      ValueRange(), none, none, UnitAttr());
}

Value LayerBuilder::sumRows(Value input) {
  return moe::ReduceOp::create(builder, loc, rowVector(builder.getF32Type()), input, moe::ReduceKind::sum,
                               IntegerAttr());
}

// ---- scalars ----------------------------------------------------------------------------------------------------

Value LayerBuilder::number(double value) {
  return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(float(value)));
}
Value LayerBuilder::toF32(Value value) {
  return value.getType().isF32() ? value : arith::ExtFOp::create(builder, loc, builder.getF32Type(), value);
}
Value LayerBuilder::fromF32(Value value, Type type) {
  return type.isF32() ? value : arith::TruncFOp::create(builder, loc, type, value);
}
Value LayerBuilder::add(Value a, Value b) { return arith::AddFOp::create(builder, loc, a, b); }
Value LayerBuilder::multiply(Value a, Value b) { return arith::MulFOp::create(builder, loc, a, b); }
Value LayerBuilder::divide(Value a, Value b) { return arith::DivFOp::create(builder, loc, a, b); }
Value LayerBuilder::scaled(Value a, double factor) { return factor == 1 ? a : multiply(a, number(factor)); }

Value LayerBuilder::atMost(Value a, double limit) {
  Value bound = number(limit);
  Value above = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, bound);
  return arith::SelectOp::create(builder, loc, above, bound, a);
}
Value LayerBuilder::atLeast(Value a, double limit) {
  Value bound = number(limit);
  Value below = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OLT, a, bound);
  return arith::SelectOp::create(builder, loc, below, bound, a);
}

// ---- the function -----------------------------------------------------------------------------------------------

static DictionaryAttr storageAttr(Builder &builder, const WeightStorage &storage, bool expertAxis) {
  static const char *const stacks[] = {"single", "per_expert", "stacked", "flat_rows"};
  static const char *const axes[] = {"out_in", "in_out"};
  static const char *const parts[] = {"all", "first_half", "second_half", "even", "odd"};
  StackKind stack = storage.stack.value_or(expertAxis ? StackKind::Stacked : StackKind::Single);
  auto entry = [&](const char *name, StringRef value) {
    return builder.getNamedAttr(name, builder.getStringAttr(value));
  };
  return builder.getDictionaryAttr({entry("tensor", storage.tensor), entry("stack", stacks[int(stack)]),
                                    entry("axes", axes[int(storage.axes)]), entry("part", parts[int(storage.part)])});
}

void LayerBuilder::addArguments(func::FuncOp function, const std::vector<Role> &roles) {
  Block *entry = function.addEntryBlock();
  x = entry->getArgument(0);
  function.setArgAttr(0, "moe.role", builder.getStringAttr("x"));
  for (auto [i, role] : llvm::enumerate(roles)) {
    parameters[role.name] = entry->getArgument(i + 1);
    function.setArgAttr(i + 1, "moe.role", builder.getStringAttr(role.name));
    auto storage = spec.weights.find(role.name);
    if (storage != spec.weights.end())
      function.setArgAttr(i + 1, "moe.storage", storageAttr(builder, storage->second, role.expertAxis));
  }
}

// y = combined + zw·x + shared + bias, in the output's type; zw = sum of the weights of identity experts.
Value LayerBuilder::finish(Value combined, const RouterValues &router, Value shared) {
  SmallVector<Bound> operands = {{combined, OperandKind::elem}};
  bool identity = spec.experts.zero && spec.experts.zero->kind == ZeroKind::Identity;
  if (identity) {
    Value ownWeights = map({{router.weights, OperandKind::elem}, {router.ids, OperandKind::elem}},
                           rows(builder.getF32Type(), spec.choices()), [&](ValueRange v) -> Value {
                             Value count =
                                 arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(spec.experts.count));
                             Value routed = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, v[1], count);
                             return arith::SelectOp::create(builder, loc, routed, number(0), v[0]);
                           });
    operands.push_back({sumRows(ownWeights), OperandKind::row});
    operands.push_back({x, OperandKind::elem});
  }
  if (spec.combine.bias)
    operands.push_back({parameter("output.bias"), OperandKind::col});
  if (shared)
    operands.push_back({shared, OperandKind::elem});
  Type output = typeOf(spec.dtype.output);
  if (operands.size() == 1 && output.isF32())
    return combined;
  return map(operands, rows(output, spec.hidden), [&](ValueRange v) {
    Value sum = v[0];
    size_t next = 1;
    if (identity) {
      sum = add(sum, multiply(v[1], toF32(v[2])));
      next = 3;
    }
    for (; next < v.size(); ++next)
      sum = add(sum, v[next]);
    return fromF32(sum, output);
  });
}

OwningOpRef<ModuleOp> LayerBuilder::build(const std::array<uint8_t, 32> &specHash) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  std::vector<Role> roles = rolesOf(spec);
  SmallVector<Type> inputs = {rows(typeOf(spec.dtype.activation), spec.hidden)};
  for (const Role &role : roles)
    inputs.push_back(
        RankedTensorType::get(role.shape, role.matrix ? typeOf(spec.dtype.weight) : Type(builder.getF32Type())));
  Type f32 = builder.getF32Type();
  SmallVector<Type> results = {rows(typeOf(spec.dtype.output), spec.hidden), rows(f32, spec.routerRows()),
                               rows(builder.getI32Type(), spec.choices()), rows(f32, spec.choices())};
  builder.setInsertionPointToEnd(module->getBody());
  auto function = func::FuncOp::create(builder, loc, spec.name, builder.getFunctionType(inputs, results));
  addArguments(function, roles);
  const char *const resultRoles[] = {"y", "logits", "ids", "weights"};
  for (auto [i, role] : llvm::enumerate(resultRoles))
    function.setResultAttr(i, "moe.role", builder.getStringAttr(role));

  builder.setInsertionPointToEnd(&function.getBody().front());
  RouterValues router = buildRouter();
  Value combined = buildExperts(router);
  Value shared = spec.shared ? buildShared() : Value();
  Value y = finish(combined, router, shared);
  func::ReturnOp::create(builder, loc, ValueRange{y, router.logits, router.ids, router.weights});
  stampIdentity(function, specHash);
  return module;
}

// ---- interface --------------------------------------------------------------------------------------------------

// Names of the function files the layer needs, with the keys that ask for them.
static std::vector<std::pair<std::string, std::string>> functionsOf(const LayerSpec &spec) {
  static const char *const scores[] = {"", "sigmoid", "sqrtsoftplus", "softplus", "relu", ""};
  std::vector<std::pair<std::string, std::string>> names;
  if (std::string score = scores[int(spec.router.score)]; !score.empty())
    names.push_back({score, "router.score"});
  if (spec.experts.form != ExpertForm::Linear)
    names.push_back({spec.experts.actAlpha != 1 ? "sigmoid" : spec.experts.actName, "experts.act"});
  if (spec.shared && spec.shared->form != ExpertForm::Linear)
    names.push_back({spec.shared->actName, "shared.act"});
  if (spec.shared && spec.shared->gate == SharedGate::Sigmoid)
    names.push_back({"sigmoid", "shared.gate"});
  return names;
}

void loadMoeDialects(MLIRContext &context) {
  context.loadDialect<moe::MoeDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect>();
}

OwningOpRef<ModuleOp> buildLayer(MLIRContext &context, const LayerSpec &spec, const std::array<uint8_t, 32> &specHash,
                                 FunctionLibrary &functions, std::vector<Refusal> &refusals) {
  size_t before = refusals.size();
  for (Refusal &refusal : refusalsOf(spec))
    refusals.push_back(std::move(refusal));
  for (const auto &[name, path] : functionsOf(spec)) {
    std::string error;
    if (!functions.load(name, error))
      refusals.push_back({"E-TEMPLATE", path, error, "a function file holds one func.func @NAME(%x: f32) -> f32"});
  }
  if (refusals.size() != before)
    return nullptr;
  loadMoeDialects(context);
  OwningOpRef<ModuleOp> module = LayerBuilder(context, spec, functions).build(specHash);
  if (failed(verify(*module))) {
    refusals.push_back({"E-INTERNAL", "", "the layer built from this spec does not verify", "report the spec"});
    return nullptr;
  }
  return module;
}

} // namespace moec
