// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch plan and a schedule -> the kernels to generate, the module of each, and the plan's variant tables.

#ifndef MOEC_CODEGEN_PIPELINE_KERNELJOBS_H
#define MOEC_CODEGEN_PIPELINE_KERNELJOBS_H

#include "codegen/Target.h"

#include "codegen/plan/LaunchPlan.h"
#include "codegen/schedule/Schedule.h"

#include "dsl/text/Diagnostic.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

struct CompileOptions;
struct ScheduleOrigin;

// One kernel function.
struct KernelJob {
  std::string symbol;
  size_t step = 0;                      // index into the plan's steps
  const ScheduleEntry *entry = nullptr; // matmul steps; null: a rows step
};

// The kernels of a package, one list per object file. Entries point into `schedule`, which must stay where it is.
struct KernelJobs {
  std::map<Isa, std::vector<KernelJob>> modules; // compiled for that ISA
  std::vector<std::string> table;                // function table of the package
};

// The schedule to use: the forced text for the stages that it names (checked here), for all others records of
// measurements on this machine where there are some, else heuristics. `notes` says for each stage that has records
// where its kernels come from, for people, and adds to `origin`, which may hold the other pass's, for the package. Sets
// the features of `plan` that follow from `origin`. `trains`: the plan is one of two, and the text may name stages of
// the other.
bool chooseSchedule(LaunchPlan &plan, const std::vector<MatmulStage> &matmuls, const CompileOptions &options,
                    bool trains, Schedule &out, ScheduleOrigin &origin, std::vector<std::string> &notes,
                    std::vector<Diagnostic> &errors);

// Sets the features of `plan` that follow from where the kernels of its package come from.
void markTunedCpu(LaunchPlan &plan, const ScheduleOrigin &origin);

// The ISA whose kernels a step runs on `isa`: AMX and AVX512-BF16 use AVX-512 kernels for what is not bf16 times bf16.
Isa scheduledIsa(const MatmulStage &facts, Isa isa);

// Fills the isa variants, covers and isa_mask of `plan`. matmuls[i] belongs to step i and has no name for other steps.
KernelJobs planKernels(LaunchPlan &plan, const std::vector<MatmulStage> &matmuls, const Schedule &schedule,
                       const CompileOptions &options);

} // namespace moec

#endif
