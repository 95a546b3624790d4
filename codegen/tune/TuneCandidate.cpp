// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A candidate's text is cut out of, and put into, a schedule of one stage: printSchedule and parseSchedule alone know
// what an entry looks like.

#include "codegen/tune/TuneCandidate.h"

#include "codegen/TemplateFiles.h"

#include "dsl/DataType.h"
#include "dsl/text/Sha256.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

#include <map>

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

// Element types of matmuls are f32, bf16 and f16.
static std::optional<moec_dtype> matmulType(const std::string &name) {
  std::optional<DataType> type = parseDataType(name);
  bool known = type == DataType::F32 || type == DataType::BF16 || type == DataType::F16;
  return known ? std::optional(moec_dtype(*type)) : std::nullopt;
}

static std::string typeName(moec_dtype type) { return std::string(dataTypeName(DataType(type))); }

std::optional<MatmulStage> matmulStageOf(const TuneStage &stage) {
  std::optional<moec_dtype> a = matmulType(stage.a), b = matmulType(stage.b), out = matmulType(stage.out);
  if (!a || !b || !out)
    return std::nullopt;
  MatmulStage facts;
  facts.name = stage.name;
  facts.n = stage.n;
  facts.k = stage.k;
  facts.parts = stage.parts;
  facts.in = *a;
  facts.weight = *b;
  facts.result = *out;
  facts.gathered = stage.gathered;
  return facts;
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

std::string codeOfCandidate(ScheduleEntry entry) {
  entry.kernel.integers["panel_m"] = 1;
  return candidateText(entry);
}

std::string codeOfCandidate(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir) {
  if (!cuda)
    if (Result<ScheduleEntry> entry = cpuCandidate(text, {}, templatesDir))
      return codeOfCandidate(std::move(*entry));
  return canonicalCandidate(text, cuda, templatesDir);
}

namespace {
struct Change {
  std::string text;
  void add(const std::string &what, const std::string &from, const std::string &to) {
    if (from != to)
      text += (text.empty() ? "" : ", ") + what + (what.empty() ? "" : " ") + from + " -> " + to;
  }
};
} // namespace

// Values by name; "-": the template has no such parameter.
static std::map<std::string, std::string> valuesOf(const TemplateBinding &kernel) {
  std::map<std::string, std::string> values = kernel.words;
  for (const auto &[key, value] : kernel.integers)
    values[key] = std::to_string(value);
  return values;
}

static std::string changes(const TemplateBinding &a, const TemplateBinding &b, const std::string &numericA,
                           const std::string &numericB) {
  Change change;
  change.add("", a.templateName, b.templateName);
  std::map<std::string, std::string> from = valuesOf(a), to = valuesOf(b);
  std::map<std::string, std::string> all = from;
  all.insert(to.begin(), to.end());
  for (const auto &[key, value] : all)
    change.add(key, from.count(key) ? from[key] : "-", to.count(key) ? to[key] : "-");
  change.add("numeric", numericA, numericB);
  return change.text;
}

std::string changesText(llvm::StringRef standard, llvm::StringRef candidate, bool cuda, llvm::StringRef templatesDir) {
  if (cuda) {
    Result<CudaEntry> a = cudaCandidate(standard, {}, templatesDir), b = cudaCandidate(candidate, {}, templatesDir);
    return a && b ? changes(a->kernel, b->kernel, "", "") : candidate.str();
  }
  Result<ScheduleEntry> a = cpuCandidate(standard, {}, templatesDir), b = cpuCandidate(candidate, {}, templatesDir);
  return a && b ? changes(a->kernel, b->kernel, a->numeric, b->numeric) : candidate.str();
}

std::string overlayHash(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir) {
  if (templatesDir.empty())
    return "";
  llvm::StringRef name = text.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
  auto read = readTemplate(templatesDir, ("kernels/" + llvm::Twine(cuda ? "cuda/" : "") + name + ".mlir").str());
  return read && *read && !(*read)->builtIn ? hexText(sha256((*read)->text)) : "";
}

std::string numericOf(llvm::StringRef text) { return text.rsplit(" numeric ").second.trim().str(); }

} // namespace moec
