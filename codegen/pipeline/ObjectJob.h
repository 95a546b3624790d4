// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kernels of one object file: instantiate, lower and emit them, in a context and a thread of their own.

#ifndef MOEC_CODEGEN_PIPELINE_OBJECTJOB_H
#define MOEC_CODEGEN_PIPELINE_OBJECTJOB_H

#include "KernelJobs.h"
#include "codegen/CompileOptions.h"

#include "dsl/text/Diagnostic.h"

#include "llvm/ADT/SmallVector.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moec {

enum class ObjectForm { Tile, LlvmDialect, Assembly, Object }; // what ObjectJob::bytes holds

// What all jobs of a compilation read.
struct ObjectInput {
  const std::string &fusedModule; // bytecode; every job reads it into its own context
  const LaunchPlan &plan;
  const std::vector<unsigned> &stageOrdinals; // per step: position of its op in the layer function, ~0u without one
  const CompileOptions &options;
  ObjectForm form;
};

struct ObjectJob {
  ObjectJob(Isa isa, const std::vector<KernelJob> *kernels) : isa(isa), kernels(kernels) {}

  Isa isa;
  const std::vector<KernelJob> *kernels;

  llvm::SmallVector<char, 0> bytes;
  // symbols of kernels that are not in `bytes` because another kernel is the same -> that one's symbol
  std::map<std::string, std::string> sameAs;
  int64_t scratchBytes = 0;        // largest need of a kernel
  std::optional<Diagnostic> error; // none: done

  void run(const ObjectInput &input);
};

} // namespace moec

#endif
