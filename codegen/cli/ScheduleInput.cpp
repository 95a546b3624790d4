// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Schedule text and the schedule a layer gets without it -> diagnostics of the schedule's file.

#include "ScheduleInput.h"

#include "codegen/schedule/Schedule.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace moec {

static constexpr const char *code = "E-SCHEDULE";

static int sayErrors(Session &session, DiagnosticList &list) {
  list.sort();
  session.err << render(list, session.color);
  session.err.flush();
  return list.hasErrors() ? int(ExitInvalid) : int(ExitDone);
}

int loadSchedule(Session &session, CompileOptions &options) {
  if (int exit = readTextFile(session, options.scheduleName, "schedule", maxScheduleBytes, options.scheduleText))
    return exit;
  Schedule schedule;
  ScheduleError error;
  if (parseSchedule(options.scheduleText, schedule, error, options.templatesDir))
    return ExitDone;
  DiagnosticList list;
  list.setSource(options.scheduleName, options.scheduleText);
  list.error(code, list.source().place(error.at, error.length), error.message,
             "moec explain prints the schedule a layer gets by default, in this form");
  return sayErrors(session, list);
}

// "experts_down: avx2, avx512; router: avx2, avx512"
static std::string builtText(const Schedule &built) {
  std::string text;
  StringRef last;
  for (const StageSchedule &stage : built.stages) {
    bool same = stage.stage == last;
    text += (same ? ", " : text.empty() ? stage.stage + ": " : "; " + stage.stage + ": ") + isaFacts(stage.isa).name.str();
    last = stage.stage;
  }
  return text;
}

// Every stage of `forced` that would never run.
static void refuseUnused(const Schedule &forced, const Schedule &built, DiagnosticList &list) {
  for (const StageSchedule &stage : forced.stages) {
    if (built.find(stage.stage, stage.isa))
      continue;
    bool known = any_of(built.stages, [&](const StageSchedule &other) { return other.stage == stage.stage; });
    std::string isa = isaFacts(stage.isa).name.str();
    list.error(code, list.source().place(stage.at, StringRef("stage").size()),
               known ? "stage '" + stage.stage + "' has no kernels of " + isa + " in this package"
                     : "the layer has no matmul stage '" + stage.stage + "'",
               list.hasErrors() ? "" : "built are " + builtText(built));
  }
}

// An error of the compiler at the entry it names.
static void placeIllegal(const CompileError &error, const Schedule &forced, DiagnosticList &list) {
  SourcePlace place;
  std::string message = error.message;
  for (const StageSchedule &stage : forced.stages)
    for (const ScheduleEntry &entry : stage.entries)
      if (StringRef(error.message).starts_with(entryPlaceText(stage.stage, stage.isa, entry)))
        place = list.source().place(entry.at, StringRef("rows").size());
  list.error(error.code, place, message, "codegen/schedule/Schedule.h has the rules S1 to S6");
}

int checkSchedule(Session &session, const CompileInput &input, const CompileOptions &options) {
  if (options.scheduleText.empty())
    return ExitDone;
  Schedule forced, built;
  ScheduleError unread;
  CompileOptions plain = options;
  plain.scheduleText.clear();
  plain.progress = nullptr;
  std::string text;
  raw_string_ostream os(text);
  std::vector<CompileError> errors;
  bool planned = printStage(input, plain, Stage::Schedule, os, errors) &&
                 parseSchedule(options.scheduleText, forced, unread, options.templatesDir) &&
                 parseSchedule(text, built, unread, options.templatesDir);
  if (!planned)
    return ExitDone;
  DiagnosticList list;
  list.setSource(options.scheduleName, options.scheduleText);
  refuseUnused(forced, built, list);
  if (list.hasErrors())
    return sayErrors(session, list);
  plain.scheduleText = options.scheduleText;
  if (!printStage(input, plain, Stage::Schedule, os, errors))
    for (const CompileError &error : errors)
      placeIllegal(error, forced, list);
  return sayErrors(session, list);
}

} // namespace moec
