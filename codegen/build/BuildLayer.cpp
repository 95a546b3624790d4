// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer's function: arguments by role, router, experts, shared experts, results; and the pieces all parts use.

#include "codegen/build/LayerBuilder.h"
#include "codegen/moe/LayerIdentity.h"
#include "codegen/moe/LayerInputs.h"

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

Value LayerBuilder::integer(int32_t value) {
  return arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(value));
}
Value LayerBuilder::plus(Value a, int32_t b) { return arith::AddIOp::create(builder, loc, a, integer(b)); }
Value LayerBuilder::times(Value a, int32_t b) { return arith::MulIOp::create(builder, loc, a, integer(b)); }
Value LayerBuilder::quotient(Value a, int32_t b) { return arith::DivSIOp::create(builder, loc, a, integer(b)); }
Value LayerBuilder::rest(Value a, int32_t b) { return arith::RemSIOp::create(builder, loc, a, integer(b)); }
Value LayerBuilder::equal(Value a, int32_t b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, a, integer(b));
}
Value LayerBuilder::isChosen(Value id) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, id, integer(0));
}
Value LayerBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(builder, loc, condition, a, b);
}

// ---- rows -------------------------------------------------------------------------------------------------------

Value LayerBuilder::columns(int64_t count) {
  return moe::ColumnsOp::create(builder, loc, rows(builder.getI32Type(), count), DenseI32ArrayAttr());
}

Value LayerBuilder::numbers(ArrayRef<int32_t> numbers) {
  return moe::ColumnsOp::create(builder, loc, rows(builder.getI32Type(), int64_t(numbers.size())),
                                builder.getDenseI32ArrayAttr(numbers));
}

Value LayerBuilder::rowsOf(Value column) { return sumRows(column); }

Value LayerBuilder::maskedBy(Value values, Value ids, double other) {
  return map({{values, OperandKind::elem}, {ids, OperandKind::elem}}, cast<RankedTensorType>(values.getType()),
             [&](ValueRange v) { return select(isChosen(v[1]), v[0], number(other)); });
}

Value LayerBuilder::take(Value values, Value ids) {
  Type element = cast<RankedTensorType>(values.getType()).getElementType();
  return moe::TakeOp::create(builder, loc, rows(element, cast<RankedTensorType>(ids.getType()).getDimSize(1)), values,
                             ids);
}

Value LayerBuilder::topK(Value values, int64_t k, int64_t segments) {
  return moe::TopKOp::create(builder, loc, rows(builder.getI32Type(), segments * k), values,
                             builder.getI64IntegerAttr(k),
                             segments > 1 ? builder.getI64IntegerAttr(segments) : IntegerAttr());
}

// ---- the function -----------------------------------------------------------------------------------------------

static DictionaryAttr storageAttr(Builder &builder, const WeightStorage &storage, StackKind otherwise) {
  static const char *const stacks[] = {"single", "per_expert", "stacked", "flat_rows"};
  static const char *const axes[] = {"out_in", "in_out"};
  static const char *const parts[] = {"all", "first_half", "second_half", "even", "odd"};
  StackKind stack = storage.stack.value_or(otherwise);
  auto entry = [&](const char *name, StringRef value) {
    return builder.getNamedAttr(name, builder.getStringAttr(value));
  };
  return builder.getDictionaryAttr({entry("tensor", storage.tensor), entry("stack", stacks[int(stack)]),
                                    entry("axes", axes[int(storage.axes)]), entry("part", parts[int(storage.part)])});
}

// Names and types of what a call gives besides x.
std::vector<std::pair<std::string, Type>> LayerBuilder::inputTypes() {
  std::vector<std::pair<std::string, Type>> types;
  for (const std::string &name : spec.inputNames()) {
    const LayerInput &input = *findLayerInput(name);
    Type element = input.integer ? Type(builder.getI32Type()) : Type(builder.getF32Type());
    RankedTensorType type = rowVector(element);
    if (input.shape == InputShape::LikeX)
      type = rows(typeOf(spec.dtype.activation), spec.hidden);
    if (input.shape == InputShape::Rows)
      type = rows(element, name == "noise" ? spec.logitColumns() : spec.choices());
    if (input.shape == InputShape::One)
      type = RankedTensorType::get({1}, element);
    types.push_back({name, type});
  }
  return types;
}

void LayerBuilder::addArguments(func::FuncOp function, const std::vector<LayerParameter> &list) {
  Block *entry = function.addEntryBlock();
  x = entry->getArgument(0);
  function.setArgAttr(0, "moe.role", builder.getStringAttr("x"));
  unsigned next = 1;
  auto add = [&](const std::string &name) {
    parameters[name] = entry->getArgument(next);
    function.setArgAttr(next, "moe.role", builder.getStringAttr(name));
    return next++;
  };
  for (const auto &[name, type] : inputTypes())
    add(name);
  for (const LayerParameter &parameter : list) {
    unsigned index = add(parameter.name);
    StackKind stack = parameter.stacked ? StackKind::Stacked : StackKind::Single;
    if (parameter.members) {
      function.setArgAttr(index, "moe.members", parameter.members);
      stack = StackKind::PerExpert;
    }
    if (auto storage = spec.weights.find(parameter.role); storage != spec.weights.end())
      function.setArgAttr(index, "moe.storage", storageAttr(builder, storage->second, stack));
  }
}

OwningOpRef<ModuleOp> LayerBuilder::build(const std::array<uint8_t, 32> &specHash) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  SmallVector<Type> inputs = {rows(typeOf(spec.dtype.activation), spec.hidden)};
  for (const auto &[name, type] : inputTypes())
    inputs.push_back(type);
  std::vector<LayerParameter> list;
  for (const Role &role : rolesOf(spec))
    for (LayerParameter &parameter : parametersOf(role))
      list.push_back(std::move(parameter));
  for (const LayerParameter &parameter : list)
    inputs.push_back(parameter.type);
  builder.setInsertionPointToEnd(module->getBody());
  auto function = func::FuncOp::create(builder, loc, spec.name, builder.getFunctionType(inputs, {}));
  addArguments(function, list);
  builder.setInsertionPointToEnd(&function.getBody().front());
  buildPresence();
  RouterValues router = buildRouter();
  Value combined = router.route ? buildSlotExperts(router) : buildExperts(router);
  std::optional<SharedValues> shared;
  if (spec.shared)
    shared = buildShared();
  SmallVector<Value> results = {finish(combined, router, shared)};
  SmallVector<StringRef> names = {"y"};
  auto give = [&](Value value, StringRef name) {
    if (value) {
      results.push_back(value);
      names.push_back(name);
    }
  };
  give(router.logits, "logits");
  give(router.ids, "ids");
  give(router.ids ? router.weights : Value(), "weights");
  for (auto [name, value] : buildReports(router))
    give(value, name);
  func::ReturnOp::create(builder, loc, results);
  function.setFunctionType(builder.getFunctionType(inputs, ValueRange(results).getTypes()));
  for (auto [i, name] : llvm::enumerate(names))
    function.setResultAttr(unsigned(i), "moe.role", builder.getStringAttr(name));
  stampIdentity(function, specHash);
  return module;
}

// ---- interface --------------------------------------------------------------------------------------------------

// Names of the function files the layer needs, with the keys that ask for them.
static std::vector<std::pair<std::string, std::string>> functionsOf(const LayerSpec &spec) {
  static const char *const scores[] = {"", "sigmoid", "sqrtsoftplus", "softplus", "relu", ""};
  std::vector<std::pair<std::string, std::string>> names;
  auto need = [&](bool needed, const std::string &name, const char *path) {
    if (needed && !name.empty())
      names.push_back({name, path});
  };
  need(true, scores[int(spec.router.score)], "router.score");
  for (const RouterSpec &level : spec.router.levels)
    need(true, scores[int(level.score)], "router.levels");
  need(spec.router.noise.kind == NoiseKind::Learned, "softplus", "router.noise.std_fn");
  need(spec.experts.form != ExpertForm::Linear, spec.experts.actAlpha != 1 ? "sigmoid" : spec.experts.actName,
       "experts.act");
  need(spec.shared && spec.shared->form != ExpertForm::Linear, spec.shared ? spec.shared->actName : "", "shared.act");
  need(spec.shared && spec.shared->gate == SharedGate::Sigmoid, "sigmoid", "shared.gate");
  need(spec.layer.wrap != LayerWrap::None, "sigmoid", "layer.wrap");
  need(spec.layer.dense && spec.layer.dense->form != ExpertForm::Linear,
       spec.layer.dense ? spec.layer.dense->actName : "", "layer.dense.act");
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
