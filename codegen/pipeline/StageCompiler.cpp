// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A compilation stopped after its schedule, and object jobs with kernels of our own choice.

#include "codegen/pipeline/StageCompiler.h"

#include "Compilation.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace moec {

struct StageCompiler::Impl {
  std::vector<Diagnostic> errors;
  Compilation compilation;
  Impl(const CompileInput &input, const CompileOptions &options) : compilation(input, options, errors) {}
};

StageCompiler::StageCompiler() = default;
StageCompiler::~StageCompiler() = default;

std::unique_ptr<StageCompiler> StageCompiler::make(const CompileInput &input, const CompileOptions &options,
                                                   std::vector<Diagnostic> &errors) {
  std::unique_ptr<StageCompiler> compiler(new StageCompiler);
  compiler->impl = std::make_unique<Impl>(input, options);
  if (compiler->impl->compilation.run(Stage::Schedule))
    return compiler;
  std::vector<Diagnostic> &own = compiler->impl->errors;
  errors.insert(errors.end(), own.begin(), own.end());
  return nullptr;
}

const LaunchPlan &StageCompiler::plan() const { return impl->compilation.plan(); }
const std::vector<MatmulStage> &StageCompiler::stages() const { return impl->compilation.stages(); }
const Schedule &StageCompiler::schedule() const { return impl->compilation.schedules(); }

Result<StageObject> StageCompiler::compile(size_t step, Isa isa, const std::vector<ScheduleEntry> &entries) {
  StageObject object;
  std::vector<KernelJob> kernels;
  for (const ScheduleEntry &entry : entries) {
    object.symbols.push_back("candidate_" + std::to_string(object.symbols.size()));
    kernels.push_back({object.symbols.back(), step, &entry});
  }
  ObjectJob job(isa, &kernels);
  impl->compilation.runJob(job, ObjectForm::Object);
  if (job.error)
    return *job.error;
  for (std::string &symbol : object.symbols)
    if (auto same = job.sameAs.find(symbol); same != job.sameAs.end())
      symbol = same->second;
  object.file = {stages()[step].name + "_" + isaFacts(isa).name.str() + ".o", std::move(job.bytes)};
  object.scratchBytes = job.scratchBytes;
  return object;
}

} // namespace moec
