// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks that need more than the line of a record: its template, the machine, other records.

#include "codegen/tune/TuneAudit.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"

#include <cstdio>

namespace moec {

// ---- wrong kernels -----------------------------------------------------------------------------------------------

WrongKernels::WrongKernels(const TuneSet &set, const TuneStamp *now, llvm::StringRef templatesDir)
    : templatesDir(templatesDir) {
  auto counts = [&](const TuneRecord &record, TuneResult result) {
    return record.kind == TuneRecord::Measurement && record.result == result &&
           (!now || staleReason(record.stamp, *now).empty());
  };
  for (size_t i = 0; i < set.items.size(); ++i) {
    const TuneRecord &bad = set.items[i].record;
    if (!counts(bad, TuneResult::Wrong))
      continue;
    std::string key = keyOf(bad, bad.candidate);
    bool repaired = llvm::any_of(set.items, [&](const TuneItem &item) {
      const TuneRecord &good = item.record;
      return counts(good, TuneResult::Ok) && good.rows == bad.rows && good.stamp.moec != bad.stamp.moec &&
             good.stamp.date > bad.stamp.date && keyOf(good, good.candidate) == key;
    });
    if (!repaired)
      wrong.try_emplace(key, i);
  }
}

const std::string &WrongKernels::codeOf(const std::string &kernel, bool cuda) const {
  auto [known, added] = codes.try_emplace((cuda ? "cuda " : "cpu ") + kernel);
  if (added)
    known->second = codeOfCandidate(kernel, cuda, templatesDir);
  return known->second;
}

std::string WrongKernels::keyOf(const TuneRecord &record, const std::string &kernel) const {
  return record.target + "\n" + shapeText(record.stage) + "\n" + record.templateHash + "\n" +
         codeOf(kernel, record.cuda());
}

bool WrongKernels::hasTemplate(const TuneRecord &record, std::string &now) const {
  std::string name = (record.cuda() ? "cuda " : "cpu ") + record.candidate.substr(0, record.candidate.find(' '));
  auto [known, added] = templates.try_emplace(name);
  if (added)
    known->second = overlayHash(record.candidate, record.cuda(), templatesDir);
  now = known->second;
  return now == record.templateHash;
}

std::optional<size_t> WrongKernels::find(const TuneRecord &record, const std::string &kernel) const {
  if (wrong.empty())
    return std::nullopt;
  auto found = wrong.find(keyOf(record, kernel));
  return found == wrong.end() ? std::nullopt : std::optional<size_t>(found->second);
}

// ---- problems of one record --------------------------------------------------------------------------------------

static std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

// "": low <= median <= high
static std::string disorder(const char *what, double low, double median, double high) {
  if (low <= median && median <= high)
    return "";
  return std::string(what) + " is [" + number(median) + ", " + number(low) + ", " + number(high) +
         "], expected [median, low, high] with low <= median <= high";
}

static std::string timesProblem(const TuneTimes &t) {
  for (const std::string &problem :
       {disorder("times.default_us", t.standard.low, t.standard.median, t.standard.high),
        disorder("times.candidate_us", t.candidate.low, t.candidate.median, t.candidate.high),
        disorder("times.gain", t.gainLow, t.gain, t.gainHigh)})
    if (!problem.empty())
      return problem;
  if (t.wins > t.pairs)
    return "times.wins is " + std::to_string(t.wins) + ", expected at most times.pairs, " + std::to_string(t.pairs);
  if (t.candidate.low <= 0 || t.standard.low <= 0)
    return "a time is 0, expected more";
  // Two per cent for the rounding of six digits and for low and high that are not the extremes.
  double least = t.standard.low / t.candidate.high - 1.02, most = t.standard.high / t.candidate.low - 0.98;
  if (t.gain < least || t.gain > most)
    return "times.gain is " + number(t.gain) + ", but the times give " + number(least + 0.02) + ".." +
           number(most - 0.02);
  return "";
}

static std::string targetProblem(const TuneRecord &record) {
  if (record.cuda() ? !archOfTarget(record.target) : !isaOfTarget(record.target))
    return "target " + record.target + " is not one that this version knows";
  if (!record.cuda() && !llvm::is_contained(record.machine.cpu->isas, record.target.substr(4)))
    return "target " + record.target + " is not among the instruction sets of the machine";
  return "";
}

static std::string kernelProblem(const TuneRecord &record, const std::string &kernel, llvm::StringRef templatesDir) {
  if (record.cuda()) {
    Result<CudaEntry> entry = cudaCandidate(kernel, record.rows, templatesDir);
    return entry ? "" : entry.error().message;
  }
  Result<ScheduleEntry> entry = cpuCandidate(kernel, record.rows, templatesDir);
  if (!entry)
    return entry.error().message;
  std::optional<MatmulStage> facts = matmulStageOf(record.stage);
  std::optional<Isa> isa = isaOfTarget(record.target);
  if (!facts || !isa)
    return "";
  Result<> legal = checkEntry(*facts, *isa, *entry, templatesDir);
  return legal ? "" : legal.error().message;
}

static std::string problemOf(const TuneSet &set, size_t item, const WrongKernels &wrong, llvm::StringRef templatesDir) {
  const TuneRecord &record = set.items[item].record;
  if (std::string problem = targetProblem(record); !problem.empty())
    return problem;
  if (std::string problem = record.times ? timesProblem(*record.times) : ""; !problem.empty())
    return problem;
  if (std::string problem = kernelProblem(record, record.standard, templatesDir); !problem.empty())
    return "default: " + problem;
  // A candidate that failed may have been illegal.
  if (record.result == TuneResult::Ok)
    if (std::string problem = kernelProblem(record, record.candidate, templatesDir); !problem.empty())
      return (record.kind == TuneRecord::Choice ? "choice: " : "candidate: ") + problem;
  if (record.kind == TuneRecord::Choice)
    if (std::optional<size_t> bad = wrong.find(record, record.candidate))
      return "choice: the kernel was measured wrong at " + set.placeOf(*bad) + ": " +
             escaped(set.items[*bad].record.detail);
  return "";
}

std::vector<Diagnostic> auditRecords(const TuneSet &set, llvm::StringRef templatesDir) {
  WrongKernels wrong(set, nullptr, templatesDir);
  std::vector<Diagnostic> problems;
  for (size_t i = 0; i < set.items.size(); ++i) {
    std::string problem = problemOf(set, i, wrong, templatesDir);
    if (problem.empty())
      continue;
    Diagnostic diagnostic = Diagnostic::error("E-TUNE", problem);
    diagnostic.file = set.files[set.items[i].file];
    diagnostic.line = set.items[i].line;
    diagnostic.column = 1;
    problems.push_back(std::move(diagnostic));
  }
  return problems;
}

} // namespace moec
