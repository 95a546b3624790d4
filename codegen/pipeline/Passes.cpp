// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// FuseStages and PlanStages as passes over a module that holds one layer, and the interpreter over one of functions.

#include "codegen/pipeline/Passes.h"

#include "codegen/fuse/FuseStages.h"
#include "codegen/interpret/EvaluateText.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/plan/PlanStages.h"

#include "mlir/Pass/Pass.h"

using namespace mlir;

namespace moec {

namespace {

struct FuseStagesPass : PassWrapper<FuseStagesPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FuseStagesPass)
  FuseStagesPass() = default;
  FuseStagesPass(const FuseStagesPass &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "moe-fuse-stages"; }
  StringRef getDescription() const override { return "fuse moe ops until every op is one stage"; }
  Option<bool> why{*this, "why", llvm::cl::desc("print every application of a rule to stderr"), llvm::cl::init(false)};

  void runOnOperation() override {
    func::FuncOp layer = findLayer(getOperation());
    std::vector<FusionNote> notes;
    if (!layer || failed(fuseStages(layer, notes)))
      return signalPassFailure();
    if (why)
      for (const FusionNote &note : notes)
        llvm::errs() << note.rule << ' ' << note.text << '\n';
  }
};

struct PrintPlanPass : PassWrapper<PrintPlanPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintPlanPass)
  PrintPlanPass() = default;
  PrintPlanPass(const PrintPlanPass &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "moe-print-plan"; }
  StringRef getDescription() const override { return "print the launch plan of fused stages to stderr"; }
  Option<int64_t> maxTokens{*this, "max-tokens", llvm::cl::desc("largest T"), llvm::cl::init(8192)};

  void runOnOperation() override {
    func::FuncOp layer = findLayer(getOperation());
    LaunchPlan plan;
    PlanOptions options;
    options.maxTokens = maxTokens;
    if (!layer || failed(planStages(layer, options, plan)))
      return signalPassFailure();
    plan.print(llvm::errs());
  }
};

struct EvaluatePass : PassWrapper<EvaluatePass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EvaluatePass)
  StringRef getArgument() const override { return "moe-evaluate"; }
  StringRef getDescription() const override {
    return "print to stderr what functions give whose arguments have a moe.value";
  }
  void runOnOperation() override {
    if (failed(interpret::evaluateText(getOperation(), llvm::errs())))
      signalPassFailure();
  }
};

} // namespace

void registerMoePasses() {
  PassRegistration<EvaluatePass>();
  PassRegistration<FuseStagesPass>();
  PassRegistration<PrintPlanPass>();
}

} // namespace moec
