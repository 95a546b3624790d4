// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> its matmul stages, their default schedule, and kernels for any other schedule entries of a stage: what
// `moec tune` times. The kernels are those that a package with these entries would hold. A layer that trains has a
// compiler for each of its two passes.

#ifndef MOEC_CODEGEN_PIPELINE_STAGECOMPILER_H
#define MOEC_CODEGEN_PIPELINE_STAGECOMPILER_H

#include "codegen/cuda/Ptxas.h"
#include "codegen/pipeline/Pipeline.h"
#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include "dsl/text/Result.h"

#include <memory>
#include <string>
#include <vector>

namespace moec {

// Kernels of one stage for one instruction set. symbols[i] serves entry i; entries that come out equal share one.
struct StageObject {
  ObjectFile file;
  std::vector<std::string> symbols;
  int64_t scratchBytes = 0; // of a worker, for the hungriest kernel
};

// What a CUDA kernel needs, by the compiler and the assembler.
struct CudaKernelFigures {
  int64_t threads = 0, sharedBytes = 0;                  // of a block
  int64_t blocksPerSm = 0;                               // that the launch asks for
  int64_t registers = 0, spillBytes = 0, localBytes = 0; // of a thread; 0 without ptxas
  std::string failed;                                    // for callers: why it has no figures
};

class Compilation;

class StageCompiler {
public:
  // Null: errors were appended. `input` and `options` must outlive the result.
  static std::unique_ptr<StageCompiler> make(const CompileInput &input, const CompileOptions &options,
                                             std::vector<Diagnostic> &errors);
  ~StageCompiler();

  // The forward pass, which this is, and after it the backward pass, if the layer trains. They live as long as this.
  std::vector<StageCompiler *> passes();

  const LaunchPlan &plan() const;
  const std::vector<MatmulStage> &stages() const; // per step of the plan; those of other kinds have no name
  const Schedule &schedule() const;               // what a package would use: forced entries, records, heuristics
  // Names of stages that no schedule chooses kernels for: gradients of weights on a CPU, whose blocks have one size.
  std::vector<std::string> fixedStages() const;
  // E-USAGE that says why there is nothing to tune in `stage`, a name that no schedule of any pass has.
  Diagnostic nothingToTune(const std::string &stage);

  // `entries` must be legal for the stage (checkEntry) on `isa`. One call uses one thread; several may run at once.
  Result<StageObject> compile(size_t step, Isa isa, const std::vector<ScheduleEntry> &entries);
  // The same for a CUDA target, whatever the entries' ranges: figures by entry, in order. `ptxas` null: without what
  // the assembler knows.
  Result<std::vector<CudaKernelFigures>> compileCuda(size_t step, CudaArch arch, const std::vector<CudaEntry> &entries,
                                                     const Ptxas *ptxas);

private:
  explicit StageCompiler(Compilation &compilation);
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace moec

#endif
