// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A candidate's text is cut out of, and put into, a schedule of one stage: printSchedule and parseSchedule alone know
// what an entry looks like.

#include "codegen/tune/TuneCandidate.h"

namespace moec {

std::optional<Isa> isaOfTarget(llvm::StringRef target) {
  for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (target == targetOf(Isa(isa)))
      return Isa(isa);
  return std::nullopt;
}

std::optional<CudaArch> archOfTarget(llvm::StringRef target) {
  for (unsigned arch = 0; arch < numCudaArchs; ++arch)
    if (target == targetOf(CudaArch(arch)))
      return CudaArch(arch);
  return std::nullopt;
}

std::string targetOf(Isa isa) { return "cpu:" + isaFacts(isa).name.str(); }
std::string targetOf(CudaArch arch) { return "cuda:" + cudaArchFacts(arch).name.str(); }

// As specs spell the types of matmuls.
static std::string typeName(moec_dtype type) {
  switch (type) {
  case MOEC_F32:
    return "f32";
  case MOEC_BF16:
    return "bf16";
  case MOEC_F16:
    return "f16";
  case MOEC_FP8E4M3:
    return "fp8_e4m3";
  case MOEC_FP8E5M2:
    return "fp8_e5m2";
  case MOEC_I8:
    return "int8";
  case MOEC_I4:
    return "int4";
  case MOEC_MXFP4:
    return "mxfp4";
  default:
    return "type_" + std::to_string(int(type));
  }
}

TuneStage tuneStageOf(const MatmulStage &facts, llvm::StringRef spec, llvm::StringRef layer) {
  TuneStage stage;
  stage.spec = spec.str();
  stage.layer = layer.str();
  stage.name = facts.name;
  stage.n = facts.n;
  stage.k = facts.k;
  stage.parts = facts.parts;
  stage.a = typeName(facts.in);
  stage.b = typeName(facts.weight);
  stage.out = typeName(facts.result);
  stage.gathered = facts.gathered;
  return stage;
}

// What follows `unit` and "1.. " of the only entry.
static std::string entryText(const Schedule &schedule, llvm::StringRef unit) {
  std::string text = printSchedule(schedule);
  return llvm::StringRef(text).split("\n  " + unit.str() + " 1.. ").second.rtrim().str();
}

std::string candidateText(const ScheduleEntry &entry) {
  ScheduleEntry open = entry;
  open.firstRow = 1, open.lastRow = -1;
  StageSchedule stage;
  stage.stage = "s";
  stage.entries = {open};
  Schedule schedule;
  schedule.layer = "l";
  schedule.stages = {stage};
  return entryText(schedule, "rows");
}

std::string candidateText(const CudaEntry &entry) {
  CudaEntry open = entry;
  open.firstToken = 1, open.lastToken = -1;
  CudaStage stage;
  stage.stage = "s";
  stage.entries = {open};
  Schedule schedule;
  schedule.layer = "l";
  schedule.cudaStages = {stage};
  return entryText(schedule, "tokens");
}

// A schedule of one stage with the text as its only entry.
static Result<Schedule> scheduleOf(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir) {
  std::string head = cuda ? "schedule l stage s sm_80 tokens 1.. " : "schedule l stage s baseline rows 1.. ";
  auto refuse = [&](const std::string &why) {
    return Diagnostic::error("E-SCHEDULE",
                             "kernel " + quoteText(std::string_view(text.data(), text.size())) + ": " + why);
  };
  if (text.find_first_of("#\n") != llvm::StringRef::npos)
    return refuse("found a comment or a line end, expected one entry");
  Result<Schedule> schedule = parseSchedule(head + text.str(), "", templatesDir);
  if (!schedule)
    return refuse(schedule.error().message);
  size_t entries = 0;
  for (const StageSchedule &stage : schedule->stages)
    entries += stage.entries.size();
  for (const CudaStage &stage : schedule->cudaStages)
    entries += stage.entries.size();
  if (entries != 1 || !schedule->fronts.empty())
    return refuse("found more than one entry, expected one");
  return schedule;
}

Result<ScheduleEntry> cpuCandidate(llvm::StringRef text, TuneClass rows, llvm::StringRef templatesDir) {
  Result<Schedule> schedule = scheduleOf(text, /*cuda=*/false, templatesDir);
  if (!schedule)
    return schedule.takeError();
  ScheduleEntry entry = schedule->stages.front().entries.front();
  entry.firstRow = rows.first, entry.lastRow = rows.last;
  entry.place = {};
  return entry;
}

Result<CudaEntry> cudaCandidate(llvm::StringRef text, TuneClass tokens, llvm::StringRef templatesDir) {
  Result<Schedule> schedule = scheduleOf(text, /*cuda=*/true, templatesDir);
  if (!schedule)
    return schedule.takeError();
  CudaEntry entry = schedule->cudaStages.front().entries.front();
  entry.firstToken = tokens.first, entry.lastToken = tokens.last;
  entry.place = {};
  return entry;
}

std::string canonicalCandidate(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir) {
  if (cuda) {
    Result<CudaEntry> entry = cudaCandidate(text, {}, templatesDir);
    return entry ? candidateText(*entry) : text.str();
  }
  Result<ScheduleEntry> entry = cpuCandidate(text, {}, templatesDir);
  return entry ? candidateText(*entry) : text.str();
}

std::string numericOf(llvm::StringRef text) { return text.rsplit(" numeric ").second.trim().str(); }

} // namespace moec
