// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> its matmul stages, their default schedule, and kernels for any other schedule entries of a stage: what
// `moec tune` times. The kernels are those that a package with these entries would hold.

#ifndef MOEC_CODEGEN_PIPELINE_STAGECOMPILER_H
#define MOEC_CODEGEN_PIPELINE_STAGECOMPILER_H

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

class StageCompiler {
public:
  // Null: errors were appended. `input` and `options` must outlive the result.
  static std::unique_ptr<StageCompiler> make(const CompileInput &input, const CompileOptions &options,
                                             std::vector<Diagnostic> &errors);
  ~StageCompiler();

  const LaunchPlan &plan() const;
  const std::vector<MatmulStage> &stages() const; // per step of the plan; those of other kinds have no name
  const Schedule &schedule() const;               // what a package would use: forced entries, records, heuristics

  // `entries` must be legal for the stage (checkEntry) on `isa`. One call uses one thread; several may run at once.
  Result<StageObject> compile(size_t step, Isa isa, const std::vector<ScheduleEntry> &entries);

private:
  StageCompiler();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace moec

#endif
