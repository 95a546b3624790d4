// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Schedule text and the schedule a layer gets without it -> diagnostics of the schedule's file.

#include "ScheduleInput.h"

#include "codegen/schedule/CudaSchedule.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <utility>
#include <vector>

using namespace llvm;

namespace moec {

static constexpr const char *code = "E-SCHEDULE";

static int sayErrors(Session &session, DiagnosticList &list) {
  list.sort();
  session.err << render(list, session.color);
  session.err.flush();
  return list.hasErrors() ? exitCodeOf(list.all()) : ExitDone;
}

int loadSchedule(Session &session, CompileOptions &options) {
  if (int exit = readTextFile(session, options.scheduleName, "schedule", maxScheduleBytes, options.scheduleText))
    return exit;
  Result<Schedule> schedule = parseSchedule(options.scheduleText, options.scheduleName, options.templatesDir);
  if (schedule)
    return ExitDone;
  DiagnosticList list;
  list.setSource(options.scheduleName, options.scheduleText);
  Diagnostic error = schedule.takeError();
  error.hint = "moec explain prints the schedule a layer gets by default, in this form";
  list.add(error);
  return sayErrors(session, list);
}

static StringRef machineName(const StageSchedule &stage) { return isaFacts(stage.isa).name; }
static StringRef machineName(const CudaStage &stage) { return cudaArchFacts(stage.arch).name; }
static const StageSchedule *findSame(const Schedule &in, const StageSchedule &stage) {
  return in.find(stage.stage, stage.isa);
}
static const CudaStage *findSame(const Schedule &in, const CudaStage &stage) {
  return in.find(stage.stage, stage.arch);
}

// "experts_down: avx2, avx512, sm_80; router: avx2, avx512, sm_80"
static std::string builtText(const Schedule &built) {
  std::vector<std::pair<std::string, std::string>> machines; // by stage, in the layer's order
  auto add = [&](const auto &stage) {
    auto found = find_if(machines, [&](const auto &known) { return known.first == stage.stage; });
    if (found == machines.end())
      machines.emplace_back(stage.stage, machineName(stage).str());
    else
      found->second += ", " + machineName(stage).str();
  };
  for_each(built.stages, add);
  for_each(built.cudaStages, add);
  std::string text;
  for (const auto &[stage, names] : machines)
    text += (text.empty() ? "" : "; ") + stage + ": " + names;
  return text;
}

// Every stage of `forced` that would never run.
static void refuseUnused(const Schedule &forced, const Schedule &built, DiagnosticList &list) {
  auto hasStage = [&](StringRef name) {
    auto same = [&](const auto &stage) { return stage.stage == name; };
    return any_of(built.stages, same) || any_of(built.cudaStages, same);
  };
  auto refuse = [&](const auto &stage) {
    if (findSame(built, stage))
      return;
    list.error(code, stage.place,
               hasStage(stage.stage)
                   ? "stage '" + stage.stage + "' has no kernels of " + machineName(stage).str() + " in this package"
                   : "the layer has no matmul stage '" + stage.stage + "'",
               list.hasErrors() ? "" : "built are " + builtText(built));
  };
  for_each(forced.stages, refuse);
  for_each(forced.cudaStages, refuse);
  for (const CudaFrontEntry &front : forced.fronts)
    if (!built.findFront(front.arch))
      list.error(code, front.place,
                 "the package has no front for " + cudaArchFacts(front.arch).name.str() + ", which would never run",
                 built.fronts.empty() ? "a front needs choices that go straight to a dispatch, and a CUDA target"
                                      : "built is one for " + cudaArchFacts(built.fronts.front().arch).name.str());
}

// Where the rules are that an entry at the error's place must keep.
static const char *rulesOf(const Diagnostic &error, const Schedule &forced) {
  for (const CudaStage &stage : forced.cudaStages)
    for (const CudaEntry &entry : stage.entries)
      if (error.line && entry.place.line == error.line && entry.place.column == error.column)
        return "codegen/schedule/CudaSchedule.h has the rules D1 to D11";
  return "codegen/schedule/Schedule.h has the rules S1 to S6";
}

int checkSchedule(Session &session, const CompileInput &input, const CompileOptions &options) {
  if (options.scheduleText.empty())
    return ExitDone;
  CompileOptions plain = options;
  plain.scheduleText.clear();
  plain.progress = nullptr;
  std::string text;
  raw_string_ostream os(text);
  std::vector<Diagnostic> errors;
  if (!printStage(input, plain, Stage::Schedule, os, errors))
    return ExitDone;
  Result<Schedule> forced = parseSchedule(options.scheduleText, options.scheduleName, options.templatesDir);
  Result<Schedule> built = parseSchedule(text, "", options.templatesDir);
  if (!forced || !built)
    return ExitDone;
  DiagnosticList list;
  list.setSource(options.scheduleName, options.scheduleText);
  refuseUnused(*forced, *built, list);
  if (list.hasErrors())
    return sayErrors(session, list);
  plain.scheduleText = options.scheduleText;
  if (!printStage(input, plain, Stage::Schedule, os, errors))
    for (Diagnostic &error : errors) {
      error.hint = rulesOf(error, *forced);
      list.add(error);
    }
  return sayErrors(session, list);
}

} // namespace moec
