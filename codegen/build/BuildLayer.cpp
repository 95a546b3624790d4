// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer's function: its arguments, the order of its parts, its results.

#include "codegen/build/BuildLayer.h"

#include "codegen/build/BuildExperts.h"
#include "codegen/build/BuildLogits.h"
#include "codegen/build/BuildReports.h"
#include "codegen/build/BuildRouter.h"
#include "codegen/build/BuildShared.h"
#include "codegen/build/BuildWrap.h"
#include "codegen/build/LayerArguments.h"
#include "codegen/moe/LayerIdentity.h"

#include "dsl/spec/LayerHash.h"
#include "dsl/spec/SpecPrinter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace moec {

namespace {

// A function of `arguments` without results, with an empty body, at the builder's place.
func::FuncOp createFunction(OpBuilder &builder, StringRef name, ArrayRef<LayerArgument> arguments) {
  SmallVector<Type> types;
  for (const LayerArgument &argument : arguments)
    types.push_back(argument.type);
  auto function =
      func::FuncOp::create(builder, builder.getUnknownLoc(), name, builder.getFunctionType(types, TypeRange()));
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    unsigned index = unsigned(i);
    function.setArgAttr(index, "moe.role", builder.getStringAttr(argument.name));
    if (argument.members)
      function.setArgAttr(index, "moe.members", argument.members);
    if (argument.storage)
      function.setArgAttr(index, "moe.storage", argument.storage);
  }
  function.addEntryBlock();
  return function;
}

LayerValues valuesOf(func::FuncOp function, ArrayRef<LayerArgument> arguments) {
  LayerValues layer;
  layer.x = function.getArgument(0);
  for (auto [argument, value] : llvm::zip_equal(arguments, function.getArguments()))
    layer.arguments[argument.name] = value;
  return layer;
}

using NamedResults = std::vector<std::pair<StringRef, Value>>;

// The parts of the layer in their order; its results by moe.role.
NamedResults buildParts(RowOps &ops, const LayerSpec &spec, LayerValues layer) {
  LayerValues given = layer;
  if (spec.takesJitter() && spec.router.input.jitterScope == JitterScope::Layer)
    layer.x = LogitsBuilder(ops, spec, given).jittered(given.x, RowOps::typeOf(given.x).getElementType());
  WrapBuilder wrap(ops, spec, layer);
  WrapValues around = wrap.presence();
  layer.present = around.present;
  RouterValues router = buildRouter(ops, spec, layer);
  ExpertsValues experts = ExpertsBuilder(ops, spec, layer).build(router);
  std::optional<SharedValues> shared;
  if (spec.shared)
    shared = SharedBuilder(ops, spec, layer).build(router.shared);
  NamedResults results = {{"y", wrap.output(around, experts.combined, router, shared)}};
  if (router.logits)
    results.push_back({"logits", router.logits});
  if (router.ids) {
    results.push_back({"ids", router.ids});
    results.push_back({"weights", router.weights});
  }
  for (auto [name, value] : ReportsBuilder(ops, spec, layer).buildReports(router, experts.routed))
    results.push_back({name, value});
  return results;
}

void addResults(OpBuilder &builder, func::FuncOp function, const NamedResults &results) {
  SmallVector<Value> values;
  for (auto [name, value] : results)
    values.push_back(value);
  func::ReturnOp::create(builder, builder.getUnknownLoc(), values);
  function.setFunctionType(builder.getFunctionType(function.getArgumentTypes(), ValueRange(values).getTypes()));
  for (auto [i, result] : llvm::enumerate(results))
    function.setResultAttr(unsigned(i), "moe.role", builder.getStringAttr(result.first));
}

} // namespace

void loadMoeDialects(MLIRContext &context) {
  context.loadDialect<moe::MoeDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect>();
}

OwningOpRef<ModuleOp> buildLayer(MLIRContext &context, const LayerSpec &spec, FunctionLibrary &functions,
                                 std::vector<Diagnostic> &errors, FunctionUses::Form form) {
  std::vector<Diagnostic> unsupported = refusalsOf(spec);
  if (!unsupported.empty()) {
    llvm::append_range(errors, unsupported);
    return nullptr;
  }
  loadMoeDialects(context);
  size_t before = errors.size();
  FunctionUses uses(functions, errors, form);
  OpBuilder builder(&context);
  RowOps ops(builder, uses);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToEnd(module->getBody());
  std::vector<LayerArgument> arguments = argumentsOf(ops, spec);
  func::FuncOp function = createFunction(builder, spec.name, arguments);
  builder.setInsertionPointToEnd(&function.getBody().front());
  addResults(builder, function, buildParts(ops, spec, valuesOf(function, arguments)));
  if (errors.size() != before)
    return nullptr;
  stampIdentity(function, layerHash(printSpec(spec), functions.texts()));
  if (failed(verify(*module))) {
    errors.push_back(
        Diagnostic::error("E-INTERNAL", "the layer built from this spec does not verify", "report the spec"));
    return nullptr;
  }
  return module;
}

} // namespace moec
