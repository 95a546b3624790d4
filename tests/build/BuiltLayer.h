// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: text of a spec -> built, fused and planned layer, with what went wrong on the way; and a plain spec.

#ifndef MOEC_TESTS_BUILD_BUILTLAYER_H
#define MOEC_TESTS_BUILD_BUILTLAYER_H

#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/fuse/FuseStages.h"
#include "codegen/grad/Differentiate.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/plan/PlanStages.h"
#include "dsl/Reports.h"
#include "dsl/spec/LayerHash.h"
#include "dsl/spec/SpecPrinter.h"
#include "dsl/spec/SpecReader.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"

#include <fstream>
#include <sstream>

namespace moec {

inline std::string readFile(const std::string &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The smallest valid layer: every key has its default.
inline LayerSpec plainSpec() {
  LayerSpec spec;
  spec.name = "plain";
  spec.hidden = 8;
  spec.experts.count = 4;
  spec.experts.intermediate = {6};
  spec.router.select.k = 2;
  return spec;
}

struct BuiltLayer {
  mlir::MLIRContext context;
  std::optional<LayerSpec> spec;
  std::vector<Diagnostic> refusals;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp layer;
  mlir::Operation *lastForward = nullptr; // of a layer with gradients
  std::vector<FusionNote> notes;
  LaunchPlan plan;
  FunctionTexts functionTexts; // that the layer applies

  bool read(const std::string &text, const std::string &dtype = "") {
    SpecSource source;
    DiagnosticList diagnostics;
    ReadOptions options;
    options.dtype = dtype;
    options.defaultName = "layer";
    options.reports = allReports(); // those of a spec that asks for none are tests/moe/reports.test
    spec = readSpec(text, "test.json", options, source, diagnostics);
    return spec.has_value();
  }
  bool build(const std::string &templates = "") {
    loadMoeDialects(context);
    FunctionLibrary functions(context, templates);
    module = buildLayer(context, *spec, functions, refusals);
    functionTexts = functions.texts();
    return bool(module);
  }
  // The layer with gradients among its results.
  bool buildGradient(const std::string &templates = "", const GradientOptions &options = {}) {
    loadMoeDialects(context);
    FunctionLibrary functions(context, templates);
    module = buildLayer(context, *spec, functions, refusals, FunctionUses::Form::Apply);
    if (!module)
      return false;
    layer = *module->getOps<mlir::func::FuncOp>().begin();
    lastForward = layer.getBody().front().getTerminator()->getPrevNode();
    Result<> made = differentiate(layer, functions, options);
    if (!made)
      refusals.push_back(made.takeError());
    return bool(made);
  }
  bool fuse() {
    layer = findLayer(*module);
    return layer && succeeded(fuseStages(layer, notes)) && succeeded(mlir::verify(*module));
  }
  bool makePlan(int64_t maxTokens = 64) {
    PlanOptions options;
    options.maxTokens = maxTokens;
    return succeeded(planStages(layer, options, plan));
  }
  std::string text() {
    std::string out;
    llvm::raw_string_ostream stream(out);
    module->print(stream);
    return out;
  }
};

} // namespace moec

#endif
