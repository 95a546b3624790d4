// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which kernels a package holds. Two ISAs that run the same kernel share one function.

#include "KernelJobs.h"

#include "codegen/CompileOptions.h"
#include "codegen/cpu/LowerOuter.h"
#include "codegen/emit/Manifest.h"
#include "codegen/fuse/FuseStages.h"
#include "codegen/plan/RouteFront.h"
#include "codegen/schedule/CpuSchedule.h"
#include "codegen/schedule/CudaSchedule.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneSchedule.h"
#include "codegen/tune/TuneSources.h"

#include "dsl/text/Sha256.h"

#include "llvm/ADT/StringExtras.h"

namespace moec {

Isa scheduledIsa(const MatmulStage &facts, Isa isa) {
  return isaFacts(isa).bf16Dot && !facts.bf16Pairs() ? Isa::Avx512 : isa;
}

static std::vector<Isa> isasOf(const CompileOptions &options) {
  if (options.emulateTiles)
    return {Isa::Amx};
  std::vector<Isa> isas;
  for (unsigned i = 0; i < MOEC_NUM_ISAS; ++i)
    if (options.isas.has(Isa(i)))
      isas.push_back(Isa(i));
  return isas;
}

namespace {

// Records of the layer's machine in place of heuristics.
class Tuning {
public:
  Tuning(const LaunchPlan &plan, const CompileOptions &options, ScheduleOrigin &origin, std::vector<std::string> &notes)
      : options(options), origin(origin), notes(notes) {
    if (!options.tuning || options.scheduleOrigin)
      return;
    query.now = currentStamp(moecVersion());
    query.templatesDir = options.templatesDir;
    query.machine.cpu = thisCpu();
    if (!options.archs.empty())
      query.machine.gpu = thisGpu();
    spec = specHashText(plan);
    layer = plan.string(plan.header.name).str();
  }

  template <typename Stage> Stage apply(const MatmulStage &facts, Stage standard, llvm::StringRef target) {
    if (!options.tuning || options.scheduleOrigin)
      return standard;
    query.stage = tuneStageOf(facts, spec, layer);
    query.numerics = options.allowBits ? std::vector<std::string>() : numericsOf(standard);
    TunedStage<Stage> tuned = tuneStage(facts, standard, *options.tuning, query);
    bool any = llvm::any_of(tuned.ranges, [](const TunedRange &range) { return range.item.has_value(); });
    for (const TunedRange &range : tuned.ranges)
      if (range.item)
        addOrigin(facts.name, range);
    std::string where = facts.name + " " + target.str(), rejected = rejectedText(tuned.ranges);
    for (const TunedRange &range : tuned.ranges)
      if (any)
        notes.push_back(where + " " + classText(range.rows) + ": " + originText(*options.tuning, range));
    if (!rejected.empty())
      notes.push_back(where + ": records not used: " + rejected);
    return std::move(tuned.schedule);
  }

private:
  void addOrigin(const std::string &stage, const TunedRange &range) {
    const TuneRecord &record = options.tuning->items[*range.item].record;
    std::string line = printTuneRecord(record), hash = hexText(sha256(line));
    bool known = llvm::any_of(origin.tuned, [&](const ScheduleOrigin::Tuned &other) { return other.record == hash; });
    if (!known)
      origin.records += line + "\n";
    origin.tuned.push_back({stage, record.target, classText(range.rows), hash, range.match == DeviceMatch::Exact});
  }
  // Those with the bits of the standard.
  static std::vector<std::string> numericsOf(const StageSchedule &standard) {
    std::vector<std::string> numerics;
    for (llvm::StringRef numeric : numericNames)
      if (haveSameBits(numeric, standard.entries.front().numeric))
        numerics.push_back(numeric.str());
    return numerics;
  }
  static std::vector<std::string> numericsOf(const CudaStage &) { return {}; }

  const CompileOptions &options;
  ScheduleOrigin &origin;
  std::vector<std::string> &notes;
  TuneQuery query;
  std::string spec, layer;
};

} // namespace

// The CPU on which kernels of avx512_bf16 were tuned, if that is the one that compiles.
static std::optional<TuneCpu> dotTunedCpu(const ScheduleOrigin &origin) {
  std::optional<TuneCpu> cpu;
  std::string target = targetOf(Isa::Avx512Bf16);
  for (llvm::StringRef line : llvm::split(llvm::StringRef(origin.records), '\n'))
    for (const ScheduleOrigin::Tuned &tuned : origin.tuned)
      if (tuned.target == target && tuned.exact && tuned.record == hexText(sha256(line)))
        if (Result<TuneRecord> record = parseTuneRecord(line); record)
          cpu = record->machine.cpu;
  return cpu;
}

bool chooseSchedule(LaunchPlan &plan, const std::vector<MatmulStage> &matmuls, const CompileOptions &options,
                    bool trains, Schedule &out, ScheduleOrigin &origin, std::vector<std::string> &notes,
                    std::vector<Diagnostic> &errors) {
  Tuning tuning(plan, options, origin, notes);
  Schedule forced;
  auto fail = [&](std::string message, std::string hint = "") {
    errors.push_back(Diagnostic::error("E-SCHEDULE", std::move(message), std::move(hint)));
    return false;
  };
  auto failWith = [&](Diagnostic error) {
    if (error.line && error.file.empty()) // the place of an entry that was read
      error.file = options.scheduleName;
    errors.push_back(std::move(error));
    return false;
  };
  if (!options.scheduleText.empty()) {
    Result<Schedule> read = parseSchedule(options.scheduleText, options.scheduleName, options.templatesDir);
    if (!read)
      return failWith(read.takeError());
    forced = std::move(*read);
  }
  out.layer = plan.string(plan.header.name).str();
  // A file for a layer that trains has the stages of both passes.
  bool backward = plan.header.pass == MOEC_PASS_BACKWARD;
  auto isOfOtherPass = [&](const auto &stage) { return trains && isBackwardStage(stage.stage) != backward; };
  llvm::erase_if(forced.stages, isOfOtherPass);
  llvm::erase_if(forced.cudaStages, isOfOtherPass);
  if (backward)
    forced.fronts.clear();
  auto isStage = [&](const auto &stage) {
    return llvm::any_of(matmuls, [&](const MatmulStage &f) { return f.name == stage.stage; }) ||
           fail(options.scheduleName + ": the layer has no matmul stage '" + stage.stage + "'",
                "moec explain prints the schedule with the stages it has");
  };
  if (!llvm::all_of(forced.stages, isStage) || !llvm::all_of(forced.cudaStages, isStage))
    return false;
  std::vector<CudaArch> fronts = routeFronts(plan).empty() ? std::vector<CudaArch>() : options.archs;
  if (fronts.empty() && !forced.fronts.empty())
    return fail(options.scheduleName + ": the layer has no front: no choices of its tokens go straight to a dispatch");
  for (CudaArch arch : fronts) {
    const CudaFrontEntry *chosen = forced.findFront(arch);
    if (chosen)
      origin.given.push_back("front " + targetOf(arch));
    out.fronts.push_back(chosen ? *chosen : cudaFront(arch));
  }
  for (const MatmulStage &stage : matmuls) {
    if (stage.name.empty())
      continue;
    for (Isa isa : isasOf(options)) {
      Isa used = scheduledIsa(stage, isa);
      if (out.find(stage.name, used))
        continue;
      const StageSchedule *chosen = forced.find(stage.name, used);
      if (chosen)
        origin.given.push_back(stage.name + " " + targetOf(used));
      out.stages.push_back(chosen ? *chosen : tuning.apply(stage, cpuSchedule(stage, used), isaFacts(used).name));
      if (Result<> legal = checkStage(stage, out.stages.back(), options.templatesDir); !legal)
        return failWith(legal.takeError());
      if (Result<> same = options.determinism == Determinism::Batch ? checkOneNumeric(out.stages.back()) : Result<>();
          !same)
        return failWith(same.takeError());
    }
    for (CudaArch arch : options.archs) {
      if (out.find(stage.name, arch))
        continue;
      const CudaStage *chosen = forced.find(stage.name, arch);
      if (chosen)
        origin.given.push_back(stage.name + " " + targetOf(arch));
      out.cudaStages.push_back(chosen ? *chosen
                                      : tuning.apply(stage, cudaSchedule(stage, arch), cudaArchFacts(arch).name));
      if (Result<> legal = checkStage(stage, out.cudaStages.back(), options.templatesDir); !legal)
        return failWith(legal.takeError());
    }
  }
  if (options.scheduleOrigin)
    origin = *options.scheduleOrigin;
  markTunedCpu(plan, origin);
  return true;
}

void markTunedCpu(LaunchPlan &plan, const ScheduleOrigin &origin) {
  std::optional<TuneCpu> cpu = dotTunedCpu(origin);
  if (!cpu || cpu->vendor.size() >= sizeof plan.header.dot_vendor)
    return;
  plan.header.features |= MOEC_FEATURE_BF16_DOT_TUNED;
  llvm::copy(cpu->vendor, plan.header.dot_vendor);
  plan.header.dot_family = uint32_t(cpu->family);
  plan.header.dot_model = uint32_t(cpu->model);
}

namespace {

class KernelPlanner {
public:
  KernelPlanner(LaunchPlan &plan, const CompileOptions &options) : plan(plan), options(options) {}
  KernelJobs jobs;

  // A kernel that the schedule does not choose. With `pairs` it multiplies pairs of bf16.
  void rows(size_t step, Isa isa, bool pairs = false) {
    Isa module = options.emulateTiles     ? Isa::Baseline
                 : !isaFacts(isa).bf16Dot ? isa
                 : pairs                  ? Isa::Avx512Bf16
                                          : Isa::Avx512;
    uint32_t &function = known[{step, module, "rows"}];
    if (!function)
      function = add(step, module, nullptr, "rows");
    slot(step, isa) = {function - 1, 1, 0, 1, 1};
  }

  void matmul(size_t step, Isa isa, const StageSchedule &schedule) {
    Isa module = options.emulateTiles ? Isa::Baseline : schedule.isa;
    uint32_t first = uint32_t(jobs.table.size());
    uint32_t &shared = known[{step, module, "matmul"}];
    if (!shared) {
      shared = first + 1;
      for (const ScheduleEntry &entry : schedule.entries)
        add(step, module, &entry,
            entry.kernel.templateName + "_r" + std::to_string(entry.firstRow) + "_" + entry.numeric);
    }
    const ScheduleEntry &last = schedule.entries.back();
    auto value = [&](const char *name) { return uint32_t(last.kernel.integers.at(name)); };
    uint32_t maxRows = value("panel_m"), multiple = value("block_m"), cover = uint32_t(plan.covers.size());
    for (uint32_t r = 1; r <= maxRows; ++r)
      plan.covers.push_back(uint8_t(schedule.entryFor(r)));
    slot(step, isa) = {shared - 1, uint32_t(schedule.entries.size()), cover, maxRows, multiple};
  }

private:
  moec_isa_variants &slot(size_t step, Isa isa) {
    Isa where = options.emulateTiles ? Isa::Baseline : isa;
    plan.header.isa_mask |= 1u << unsigned(where);
    return plan.steps[step].isa[unsigned(where)];
  }

  // Index + 1 of the new function. A symbol joins the layer's name, the stage's and what tells the variant apart.
  uint32_t add(size_t step, Isa module, const ScheduleEntry *entry, const std::string &variant) {
    std::string stage = plan.string(plan.steps[step].name).str();
    for (char &c : stage)
      if (!llvm::isAlnum(c))
        c = '_';
    bool backward = plan.header.pass == MOEC_PASS_BACKWARD;
    std::string symbol = "moec_" + plan.string(plan.header.name).str() + (backward ? "__b" : "__") +
                         std::to_string(step) + "_" + stage + "_" + variant + "_" + isaFacts(module).name.str();
    jobs.modules[module].push_back({symbol, step, entry});
    jobs.table.push_back(symbol);
    return uint32_t(jobs.table.size());
  }

  LaunchPlan &plan;
  const CompileOptions &options;
  std::map<std::tuple<size_t, Isa, std::string>, uint32_t> known; // function index + 1
};

} // namespace

KernelJobs planKernels(LaunchPlan &plan, const std::vector<MatmulStage> &matmuls, const Schedule &schedule,
                       const CompileOptions &options) {
  KernelPlanner planner(plan, options);
  for (size_t step = 0; step < plan.steps.size(); ++step)
    for (Isa isa : isasOf(options)) {
      if (auto outer = mlir::dyn_cast_or_null<moe::GroupedOuterOp>(plan.stageOf[step]))
        planner.rows(step, isa, multipliesPairs(outer));
      else if (isKernelStep(plan.steps[step]) && plan.steps[step].kind != MOEC_STEP_MATMUL)
        planner.rows(step, isa);
      else if (plan.steps[step].kind == MOEC_STEP_MATMUL)
        planner.matmul(step, isa, *schedule.find(matmuls[step].name, scheduledIsa(matmuls[step], isa)));
    }
  return std::move(planner.jobs);
}

} // namespace moec
