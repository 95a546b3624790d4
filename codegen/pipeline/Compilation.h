// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One compilation: what is known after each stage. LayerInput.cpp makes the layer, Pipeline.cpp runs
// the other stages, StageCompiler.cpp stops before the
// kernels and makes others.

#ifndef MOEC_CODEGEN_PIPELINE_COMPILATION_H
#define MOEC_CODEGEN_PIPELINE_COMPILATION_H

#include "Pipeline.h"

#include "CudaJob.h"
#include "KernelJobs.h"
#include "ObjectJob.h"

#include "codegen/build/BuildLayer.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/fuse/FuseStages.h"
#include "codegen/grad/Partition.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <chrono>

namespace moec {

class Compilation {
public:
  Compilation(const CompileInput &input, const CompileOptions &options, std::vector<Diagnostic> &errors)
      : input(input), options(options), errors(errors) {
    loadMoeDialects(context);
  }

  // Runs the stages up to and including `last`; false when an error was added.
  bool run(Stage last);
  bool print(Stage stage, llvm::raw_ostream &os);
  std::unique_ptr<CompiledPackage> package();

  // The backward pass of a layer that trains; null before it is made, and for others.
  const Compilation *backwardPass() const { return backward.get(); }
  Compilation *backwardPass() { return backward.get(); }

  // After Stage::Schedule. Per step, those of other kinds than matmuls without a name; and the schedule used.
  const std::vector<MatmulStage> &stages() const { return matmuls; }
  const Schedule &schedules() const { return chosen; }
  const LaunchPlan &plan() const { return launchPlan; }
  // Runs `job`, whose kernels may be others than those of the schedule.
  void runJob(ObjectJob &job, ObjectForm form);
  void runJob(CudaJob &job, const Schedule &schedule, const Ptxas *ptxas);

private:
  // Of the backward pass of `forward`, whose plan it completes.
  Compilation(const Compilation &forward, llvm::StringRef module);
  bool isBackward() const { return forward != nullptr; }
  bool trains() const;  // the spec asks for a backward pass
  bool splitBackward(); // out of the module into a compilation of its own
  bool runOwn(Stage last);
  void write(Stage stage, llvm::raw_ostream &os);
  std::unique_ptr<CompiledPackage> packageOf(PlanObjectInput &planInput); // without the plan's object
  Schedule scheduleOfBoth() const;
  void takeOrigins();
  bool buildSpec(Stage last);
  bool parseOrBuild(Stage last);
  bool checkTypes();
  bool fuse();
  bool planSteps();
  bool countRows();
  bool schedule();
  // The fused module as bytecode, and per step the position of its op in the layer function.
  void shareModule(std::string &fused, std::vector<unsigned> &ordinals);
  bool runJobs(ObjectForm form);
  void addDevices(CompiledPackage &result);
  bool cutIntoChunks();
  PackageOptions optionsUsed() const;
  bool readTemplates(std::vector<TemplateUse> &out);
  // Runs `body` with MLIR's diagnostics collected; if it fails, they become errors of this code.
  bool collecting(const char *code, llvm::function_ref<bool()> body);
  // Of ops that MLIR finds wrong: text may hold such ops, but a spec's layer never does.
  const char *moeCode() const { return input.spec ? "E-INTERNAL" : "E-MOE"; }
  void note(Stage stage, const llvm::Twine &detail);

  const CompileInput &input;
  const CompileOptions &options;
  std::vector<Diagnostic> &errors;
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp layer;
  std::optional<Partition> training;     // after Stage::Grad; its forward is `layer`
  const Compilation *forward = nullptr;  // set in a backward pass
  std::unique_ptr<Compilation> backward; // set in the forward pass of a layer that trains
  std::vector<FusionNote> fusionNotes;
  LaunchPlan launchPlan;
  std::vector<MatmulStage> matmuls; // one per step; those of other kinds have no name
  Schedule chosen;
  ScheduleOrigin origin;
  std::vector<std::string> tuningNotes;
  std::map<std::string, std::string> functionTexts; // of the functions that a spec's layer applies
  std::vector<std::string> derivatives;             // those of the functions whose derivatives it applies
  KernelJobs jobs;
  std::vector<ObjectJob> objects;
  std::vector<CudaJob> devices;
  std::optional<Ptxas> ptxas;
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

} // namespace moec

#endif
