// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The first stages of a compilation: a spec or a text -> the layer, and its gradients.

#include "Compilation.h"

#include "codegen/TextNesting.h"
#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/grad/Differentiate.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/LayerIdentity.h"

#include "dsl/Frozen.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace moec {

bool Compilation::trains() const {
  return input.spec && (input.spec->passes.backward || input.spec->passes.backwardInput);
}

// Results of a forward pass that are equal and now one value, as the probabilities and the weights of a dense layer:
// each is made by an op of its own again, because a call may ask for one of them only.
static void makeApart(func::FuncOp pass) {
  Operation *end = pass.getBody().front().getTerminator();
  llvm::SmallPtrSet<void *, 4> seen;
  for (OpOperand &operand : end->getOpOperands()) {
    auto role = pass.getResultAttrOfType<StringAttr>(operand.getOperandNumber(), "moe.role");
    auto made = dyn_cast<OpResult>(operand.get());
    if (!made || role.getValue().starts_with("saved.") || seen.insert(made.getAsOpaquePointer()).second)
      continue;
    Operation *again = OpBuilder(end).clone(*made.getOwner());
    operand.set(again->getResult(made.getResultNumber()));
  }
}

// The forward layer, with gradients among its results if `last` is the stage that makes them.
bool Compilation::buildSpec(Stage last) {
  FunctionLibrary functions(context, options.templatesDir);
  bool differentiates = trains() && last != Stage::Build;
  if (last == Stage::Grad && !trains()) {
    errors.push_back(Diagnostic::error("E-PASSES", "a layer without a backward pass has no gradients",
                                       R"(add "backward" or "backward_input" to passes)", "passes"));
    return false;
  }
  module = buildLayer(context, *input.spec, functions, errors,
                      differentiates ? FunctionUses::Form::Apply : FunctionUses::Form::Body);
  if (!module)
    return false;
  if (differentiates) {
    GradientOptions gradients;
    gradients.parameters = input.spec->passes.backward;
    gradients.frozen = {
        [&](StringRef role) { return isFrozen(*input.spec, role.str()); },
        [&](StringRef role, int64_t experts) { return frozenExperts(*input.spec, role.str(), experts); }};
    layer = *module->getOps<func::FuncOp>().begin();
    if (Result<> made = differentiate(layer, functions, gradients); !made) {
      errors.push_back(made.takeError());
      return false;
    }
    training = partition(layer, input.spec->save == Save::All ? SavePolicy::Matmuls : SavePolicy::Choices);
    for (func::FuncOp pass : {training->forward, training->backward}) {
      IRRewriter rewriter(&context);
      DominanceInfo dominance(pass);
      eliminateCommonSubExpressions(rewriter, dominance, pass);
      if (pass == training->forward)
        makeApart(pass);
      keepIdentity(pass);
    }
    if (!collecting("E-INTERNAL", [&] { return succeeded(verify(*module)); }))
      return false;
  }
  functionTexts = functions.texts();
  derivatives = functions.derivatives();
  return true;
}

bool Compilation::parseOrBuild(Stage last) {
  if (input.spec) {
    if (!buildSpec(last))
      return false;
    if (training) // no longer a layer: its function also returns what it saves
      return true;
  } else {
    if (Result<> flat = checkNesting(input.moeText, input.moeFile, "E-MOE"); !flat) {
      errors.push_back(flat.takeError());
      return false;
    }
    bool parsed = collecting("E-MOE", [&] {
      llvm::SourceMgr sources;
      sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(input.moeText, input.moeFile), SMLoc());
      module = parseSourceFile<ModuleOp>(sources, ParserConfig(&context));
      return bool(module);
    });
    if (!parsed)
      return false;
  }
  return collecting(moeCode(), [&] {
    layer = findLayer(*module);
    return bool(layer);
  });
}

// CPU kernels convert f32 and bf16 only.
bool Compilation::checkTypes() {
  auto isHalf = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getElementType().isF16();
  };
  bool halves = false;
  layer.walk([&](Operation *op) {
    halves |= llvm::any_of(op->getOperandTypes(), isHalf) || llvm::any_of(op->getResultTypes(), isHalf);
  });
  if (!halves || !options.isas.mask)
    return true;
  bool activation = input.spec && input.spec->dtype.activation == DataType::F16;
  bool weight = input.spec && input.spec->dtype.weight == DataType::F16;
  bool router = input.spec && input.spec->dtype.router == DataType::F16;
  errors.push_back(Diagnostic::error("E-UNSUPPORTED",
                                     "f16 is not built for CPU targets; f32 and bf16 are, and f16 for cuda",
                                     "use --target cuda or bf16",
                                     activation ? "dtype.activation"
                                     : weight   ? "dtype.weight"
                                     : router   ? "dtype.router"
                                                : "dtype.output"));
  return false;
}

} // namespace moec
