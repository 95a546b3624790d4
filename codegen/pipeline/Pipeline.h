// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec (or moe text) in -> compiled package in memory out. The enum below lists the stages in order;
// codegen/README.md describes the form after each. Nothing here prints or exits; the only files it reads are those of
// --templates.

#ifndef MOEC_CODEGEN_PIPELINE_PIPELINE_H
#define MOEC_CODEGEN_PIPELINE_PIPELINE_H

#include "codegen/CompileOptions.h"
#include "codegen/emit/CompiledPackage.h"

#include "dsl/LayerSpec.h"
#include "dsl/text/Diagnostic.h"

#include "llvm/Support/raw_ostream.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

enum class Stage { Spec, Build, Grad, Fuse, Plan, Schedule, Instantiate, Lower, Emit };
std::optional<Stage> parseStage(llvm::StringRef name);
llvm::StringRef stageName(Stage stage);

// The input of a compilation: exactly one of the two.
struct CompileInput {
  const LayerSpec *spec = nullptr;
  std::string moeText, moeFile; // text of the moe dialect and its file name for messages
};

// Errors are appended to `errors`; the result is null exactly when there is one. An error is at a key of the spec (its
// path), at a place of the text or of a template (its file), or nowhere.
std::unique_ptr<CompiledPackage> compileLayer(const CompileInput &input, const CompileOptions &options,
                                              std::vector<Diagnostic> &errors);

// The launch plan of the package that compileLayer would make, without kernels: roles, where a checkpoint stores them,
// and the regions of packed weights are those of the package. nullopt: errors were appended.
std::optional<LaunchPlan> planLayer(const CompileInput &input, const CompileOptions &options,
                                    std::vector<Diagnostic> &errors);

// Prints the form after `stage` (IR text, plan, schedule, LLVM IR or assembly). False: errors were appended.
bool printStage(const CompileInput &input, const CompileOptions &options, Stage stage, llvm::raw_ostream &os,
                std::vector<Diagnostic> &errors);

} // namespace moec

#endif
