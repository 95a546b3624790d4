// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A compilation stopped after its schedule, and object jobs with kernels of our own choice.

#include "codegen/pipeline/StageCompiler.h"

#include "Compilation.h"

#include "codegen/fuse/JoinStages.h"
#include "codegen/moe/MoeDialect.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace moec {

namespace {
struct OwnedCompilation {
  std::vector<Diagnostic> errors;
  Compilation compilation;
  OwnedCompilation(const CompileInput &input, const CompileOptions &options) : compilation(input, options, errors) {}
};
} // namespace

struct StageCompiler::Impl {
  Compilation &compilation;
  std::unique_ptr<OwnedCompilation> both;  // null in a backward pass, whose compilation is part of the forward pass's
  std::unique_ptr<StageCompiler> backward; // null in a backward pass, and where there is none
};

StageCompiler::StageCompiler(Compilation &compilation) : impl(new Impl{compilation, nullptr, nullptr}) {}
StageCompiler::~StageCompiler() = default;

std::unique_ptr<StageCompiler> StageCompiler::make(const CompileInput &input, const CompileOptions &options,
                                                   std::vector<Diagnostic> &errors) {
  auto both = std::make_unique<OwnedCompilation>(input, options);
  if (!both->compilation.run(Stage::Schedule)) {
    errors.insert(errors.end(), both->errors.begin(), both->errors.end());
    return nullptr;
  }
  std::unique_ptr<StageCompiler> compiler(new StageCompiler(both->compilation));
  if (Compilation *backward = both->compilation.backwardPass())
    compiler->impl->backward.reset(new StageCompiler(*backward));
  compiler->impl->both = std::move(both);
  return compiler;
}

std::vector<StageCompiler *> StageCompiler::passes() {
  std::vector<StageCompiler *> both = {this};
  if (impl->backward)
    both.push_back(impl->backward.get());
  return both;
}

const LaunchPlan &StageCompiler::plan() const { return impl->compilation.plan(); }
const std::vector<MatmulStage> &StageCompiler::stages() const { return impl->compilation.stages(); }
const Schedule &StageCompiler::schedule() const { return impl->compilation.schedules(); }

std::vector<std::string> StageCompiler::fixedStages() const {
  std::vector<std::string> names;
  for (size_t step = 0; step < plan().steps.size(); ++step)
    if (llvm::isa_and_nonnull<moe::GroupedOuterOp>(plan().stageOf[step]))
      names.push_back(plan().string(plan().steps[step].name).str());
  return names;
}

Diagnostic StageCompiler::nothingToTune(const std::string &stage) {
  for (StageCompiler *pass : passes())
    if (llvm::is_contained(pass->fixedStages(), stage))
      return Diagnostic::error("E-USAGE",
                               "stage " + quoteText(stage) + " has nothing to tune: its blocks have one size",
                               "moec tune tunes the stages that have a schedule in moec explain");
  return Diagnostic::error("E-USAGE", "the layer has no matmul stage " + quoteText(stage),
                           "moec explain lists the stages");
}

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

// Each entry serves the calls of one number of tokens, beyond those in which stages share launches. Other stages keep
// one entry, and no front takes the place of kernels.
static Schedule scheduleOfCandidates(const Schedule &chosen, llvm::StringRef stage, CudaArch arch,
                                     const std::vector<CudaEntry> &entries) {
  Schedule schedule = chosen;
  schedule.fronts.clear();
  for (CudaStage &other : schedule.cudaStages) {
    other.entries.erase(other.entries.begin(), std::prev(other.entries.end()));
    other.entries.front().firstToken = 1;
    if (other.stage != stage || other.arch != arch)
      continue;
    other.entries = entries;
    for (size_t i = 0; i < entries.size(); ++i)
      other.entries[i].firstToken = other.entries[i].lastToken = joinedTokens + 1 + int64_t(i);
  }
  return schedule;
}

Result<std::vector<CudaKernelFigures>>
StageCompiler::compileCuda(size_t step, CudaArch arch, const std::vector<CudaEntry> &entries, const Ptxas *ptxas) {
  Schedule schedule = scheduleOfCandidates(impl->compilation.schedules(), stages()[step].name, arch, entries);
  CudaJob job(arch);
  impl->compilation.runJob(job, schedule, ptxas);
  if (job.error)
    return *job.error;
  std::vector<CudaKernelFigures> figures;
  for (size_t i = 0; i < entries.size(); ++i) {
    std::string end = "_t" + std::to_string(joinedTokens + 1 + int64_t(i));
    auto found = llvm::find_if(job.plan.launches, [&](const CudaPlannedLaunch &launch) {
      return launch.launch.step == step && llvm::StringRef(launch.symbol).ends_with(end);
    });
    if (found == job.plan.launches.end())
      return Diagnostic::error("E-INTERNAL",
                               "the kernel of tokens " + std::to_string(joinedTokens + 1 + int64_t(i)) + " is missing");
    const moec_cuda_launch &launch = found->launch;
    figures.push_back({launch.block_threads, launch.shared_bytes, launch.blocks_per_sm, launch.registers,
                       launch.spill_bytes, launch.local_bytes, ""});
  }
  return figures;
}

} // namespace moec
