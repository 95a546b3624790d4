// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tune: a layer -> which kernels are fastest for it on this machine, as records beside the spec.
//
//   per row range   candidates are built in memory, compared with the default, timed in turn with it (codegen/search)
//   at the end      whole calls of the tuned layer beside the default one, and `verify` of the tuned one (TuneConfirm)

#include "Supervisor.h"
#include "TuneConfirm.h"
#include "TuneDb.h"
#include "TuneLayer.h"
#include "TuneOutput.h"
#include "TunePredict.h"
#include "TunePrepare.h"
#include "TuneSkew.h"
#include "Verbs.h"
#include "codegen/check/TokenRange.h"

#include "codegen/search/CudaModel.h"
#include "codegen/search/TuneSearch.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneSources.h"
#include "codegen/tune/TuneStore.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <tuple>
#include <unistd.h>

using namespace llvm;

namespace moec {

static std::string recordsFile(const TuneFlags &flags) {
  return flags.output.empty() ? projectTuneFile(flags.spec) : flags.output;
}

namespace {

using Clock = std::chrono::steady_clock;

// One row range of one stage, waiting for its turn.
struct Task {
  StageSearch *search = nullptr;
  const StageSchedule *schedule = nullptr;
  RowClass rows;
};

class TuneRun {
public:
  TuneRun(Session &session, const TuneFlags &flags, const SpecInput &input, const CompileOptions &options)
      : session(session), flags(flags), input(input), options(options) {}

  int run();

private:
  int prepare();
  int listTasks();
  void listPass(StageCompiler &pass);
  int searchAll();
  int shareKernels();
  int withdrawChoices();
  int finish();
  void live(const Task &task, size_t tried, size_t wrong, double gain);
  void clearLine();
  void noteFailure(const TuneRecord &record);
  double secondsLeft() const { return budget - std::chrono::duration<double>(Clock::now() - begin).count(); }

  Session &session;
  const TuneFlags &flags;
  const SpecInput &input;
  CompileOptions options;
  CompileInput compileInput;
  std::unique_ptr<StageCompiler> compiler;
  std::vector<TuneRecord> earlier;
  std::unique_ptr<TuneStore> store;
  SearchOptions search;
  std::vector<std::unique_ptr<StageSearch>> searches;
  std::vector<Task> tasks;
  TuneSummaryLines summary;
  std::vector<int64_t> tokens;
  Clock::time_point begin = Clock::now();
  double budget = std::numeric_limits<double>::infinity();
  bool terminal = isatty(2) != 0, lineShown = false;
};

} // namespace

// "30s", "10m", "1h", "full". Nullopt: it is none of these.
static std::optional<double> secondsOf(StringRef text) {
  if (text == "full")
    return std::numeric_limits<double>::infinity();
  double unit = text.consume_back("s") ? 1 : text.consume_back("m") ? 60 : text.consume_back("h") ? 3600 : 0, number;
  if (!unit || text.getAsDouble(number) || !(number > 0) || number > 1e6)
    return std::nullopt;
  return number * unit;
}

int TuneRun::prepare() {
  std::optional<double> seconds = secondsOf(flags.budget);
  if (!seconds)
    return fail(session, "E-USAGE", "--budget is " + quoteText(flags.budget) + ", expected 30s, 10m, 1h or full");
  budget = *seconds;
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, tokens))
    return code;
  std::string path = recordsFile(flags);
  if (access(path.c_str(), F_OK) == 0) {
    Result<TuneFile> file = loadTuneFile(path);
    if (!file)
      return fail(session, file.error());
    warnOfLines(session, file->complaints, file->skippedLines);
    for (StoredRecord &stored : file->records)
      earlier.push_back(std::move(stored.record));
  }
  std::vector<Diagnostic> errors;
  compileInput = input.compileInput();
  compiler = StageCompiler::make(compileInput, options, errors);
  if (!compiler)
    return reportCompileErrors(session, input, errors);
  search.stamp = recordOfLayer(*compiler);
  search.stamp.machine.cpu = thisCpu();
  if (int code = readSkew(session, flags.skew, compiler->stages(), search.routing))
    return code;
  search.space = candidateSpace(options.templatesDir, flags.compile.allowBits);
  search.expired = [this] { return secondsLeft() <= 0; };
  search.remember = [this](const TuneRecord &record) -> Result<> {
    ++summary.measurements;
    summary.wrong += record.result == TuneResult::Wrong;
    summary.failed += record.result == TuneResult::Failed;
    noteFailure(record);
    return store->append(record);
  };
  if (int code = listTasks())
    return code;
  Result<TuneStore> opened = TuneStore::open(path);
  if (!opened)
    return fail(session, opened.error());
  store = std::make_unique<TuneStore>(std::move(*opened));
  keepsOutput(path);
  return ExitDone;
}

// A candidate that is only slow is not one.
void TuneRun::noteFailure(const TuneRecord &record) {
  bool slow = record.result == TuneResult::Timeout && record.detail == slowerDetail;
  if (record.result == TuneResult::Ok || slow)
    return;
  summary.failures.push_back(record.stage.name + " " + record.target.substr(record.target.find(':') + 1) + " rows " +
                             classText(record.rows) + ": " +
                             changesText(record.standard, record.candidate, false, options.templatesDir) + ": " +
                             tuneResultName(record.result) + ", " + record.detail);
}

// Row ranges by their share of the work, the stages in turn: what a short budget reaches is what matters most.
int TuneRun::listTasks() {
  for (StageCompiler *pass : compiler->passes()) {
    size_t before = summary.stages;
    listPass(*pass);
    if (pass != compiler.get())
      summary.backwardStages = summary.stages - before;
  }
  if (!summary.stages)
    return fail(session, compiler->nothingToTune(flags.stage));
  std::sort(tasks.begin(), tasks.end(), [](const Task &a, const Task &b) {
    return std::tuple(-a.rows.weight, a.schedule->stage, a.rows.entry) <
           std::tuple(-b.rows.weight, b.schedule->stage, b.rows.entry);
  });
  return ExitDone;
}

void TuneRun::listPass(StageCompiler &pass) {
  const std::vector<MatmulStage> &stages = pass.stages();
  for (size_t step = 0; step < stages.size(); ++step)
    for (const StageSchedule &schedule : pass.schedule().stages) {
      if (schedule.stage != stages[step].name || (!flags.stage.empty() && flags.stage != schedule.stage))
        continue;
      ++summary.stages;
      searches.push_back(std::make_unique<StageSearch>(pass, step, schedule, search, earlier));
      for (RowClass &rows : searches.back()->classes(tokens))
        tasks.push_back({searches.back().get(), &schedule, std::move(rows)});
    }
  if (flags.stage.empty())
    append_range(summary.fixed, pass.fixedStages());
}

int TuneRun::searchAll() {
  if (!flags.json)
    printTuneBegin(session.out, summary, tasks.size(), earlier.size());
  session.out.flush();
  for (const Task &task : tasks) {
    search.progress = [&](size_t tried, size_t wrong, double gain) { live(task, tried, wrong, gain); };
    live(task, 0, 0, 0);
    Result<SearchOutcome> outcome = task.search->search(task.rows);
    clearLine();
    if (!outcome)
      return fail(session, outcome.error().within(task.schedule->stage));
    summary.outcomes.push_back({task.search, task.schedule, std::move(*outcome)});
    summary.noteProgress(std::chrono::duration<double>(Clock::now() - begin).count(), tasks.size());
    if (!flags.json && summary.outcomes.back().outcome.reached)
      printRange(session.out, summary.outcomes.back(), options.templatesDir);
    session.out.flush();
  }
  return shareKernels();
}

// Fewer kernels, stage by stage.
int TuneRun::shareKernels() {
  search.progress = nullptr;
  for (const std::unique_ptr<StageSearch> &stage : searches) {
    std::vector<SearchOutcome *> own;
    for (TunedRow &row : summary.outcomes)
      if (row.search == stage.get() && row.outcome.reached)
        own.push_back(&row.outcome);
    if (Result<> covered = stage->cover(own); !covered)
      return fail(session, covered.error());
  }
  for (const TunedRow &row : summary.outcomes)
    if (row.outcome.shared && !flags.json)
      printRange(session.out, row, options.templatesDir);
  return ExitDone;
}

void TuneRun::clearLine() {
  if (lineShown)
    session.err << "\r\x1b[K";
  lineShown = false;
}

void TuneRun::live(const Task &task, size_t tried, size_t wrong, double gain) {
  if (!terminal || session.quiet)
    return;
  clearLine();
  session.err << "  " << task.schedule->stage << " rows " << rowRangeText(task.schedule->entries[task.rows.entry])
              << ": " << tried << " tried, " << wrong << " wrong, best " << format("%+.1f %%", 100 * gain) << "; "
              << summary.outcomes.size() << " of " << tasks.size() << " ranges done";
  if (secondsLeft() < 1e6)
    session.err << format(", %.0f s left", std::max(0.0, secondsLeft()));
  session.err.flush();
  lineShown = true;
}

int TuneRun::run() {
  enterStage("tune");
  if (int code = prepare())
    return code;
  bool pairs = any_of(compiler->stages(), [](const MatmulStage &stage) { return stage.bf16Pairs(); });
  CeilingProbe probe(pairs ? Factors::Bf16 : Factors::F32, 1);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  search.ceilings = probe.best();
  search.probe = [&probe] {
    for (int again = 0; again < 5; ++again)
      probe.probe();
    return probe.best();
  };
  if (!flags.json)
    session.out << "machine      " << machineText(search.stamp.machine, false) << ", " << moec_isa_name(moec_cpu_isa())
                << ", 1 thread; "
                << format("%.1f GFLOP/s (%s), %.2f GB/s\n", probe.best().gflops, peakName(probe.bound()),
                          probe.best().gbps);
  begin = Clock::now(); // the budget is the search's
  if (int code = searchAll())
    return code;
  return finish();
}

// One of the chosen kernels is wrong in the layer, although it was right alone.
int TuneRun::withdrawChoices() {
  size_t withdrawn = 0;
  for (TunedRow &row : summary.outcomes)
    if (row.outcome.changed) {
      if (Result<> kept = row.search->withdraw(row.outcome); !kept)
        return fail(session, kept.error());
      ++withdrawn;
    }
  warn(session, "W-WRONG",
       "the tuned layer failed verify, so " + std::to_string(withdrawn) +
           (withdrawn == 1 ? " choice was" : " choices were") + " taken back",
       "please report the records, " + recordsFile(flags));
  return ExitDone;
}

int TuneRun::finish() {
  std::string path = recordsFile(flags);
  int code = ExitDone;
  if (summary.changed() && flags.confirm)
    code = confirmTuning(session, flags, path);
  if (code == ExitCheckFailed)
    if (int failed = withdrawChoices())
      return failed;
  if (flags.json)
    writeTuneJson(session.out, summary);
  else
    printTuneEnd(session.out, summary, path);
  if (summary.wrong)
    warn(session, "W-WRONG",
         std::to_string(summary.wrong) + (summary.wrong == 1 ? " candidate computes" : " candidates compute") +
             " something else than the default and will never be chosen",
         "moec tunedb show " + path + " names each; please report those of moec's own templates");
  if (size_t broken = summary.crashed() + summary.stuck())
    warn(session, "W-CRASH",
         std::to_string(broken) + (broken == 1 ? " candidate" : " candidates") +
             " crashed or never returned, and will never be chosen",
         "moec tunedb show " + path + " names each; please report those of moec's own templates");
  return code;
}

static int runTune(Session &session, const TuneFlags &flags) {
  SpecInput input;
  CompileOptions options;
  CompileFlags compileFlags = flags.compile;
  if (compileFlags.targets == std::vector<std::string>{"cpu"})
    compileFlags.targets = {"cpu:" + std::string(moec_isa_name(moec_cpu_isa()))};
  if (int code = compileOptions(session, compileFlags, options))
    return code;
  bool cuda = !options.archs.empty();
  if (cuda && options.isas.mask)
    return fail(session, "E-UNSUPPORTED", "moec tune measures CPU targets and predicts CUDA targets, one or the other",
                "name cpu or cuda targets alone; --prepare makes what measures CUDA kernels on a machine with a GPU");
  if (!flags.gpu.empty() && !findGpu(flags.gpu))
    return fail(session, "E-USAGE", "--gpu is " + quoteText(flags.gpu) + ", expected " + gpuKeys());
  if (!cuda && !flags.gpu.empty())
    return fail(session, "E-USAGE", "--gpu is for cuda targets", "add --target cuda:sm_90a");
  for (int isa = MOEC_NUM_ISAS - 1; isa > moec_cpu_isa() && flags.prepare.empty(); --isa)
    if (options.isas.has(Isa(isa)))
      return fail(session, "E-MACHINE", std::string("this machine does not have ") + moec_isa_name(isa),
                  std::string("it has up to ") + moec_isa_name(moec_cpu_isa()));
  if (int code = loadSpec(session, flags.spec, compileFlags, input))
    return code;
  options.progress = nullptr;
  if (cuda && flags.prepare.empty())
    return predictTuning(session, flags, input, options, recordsFile(flags));
  if (!flags.prepare.empty())
    return prepareTuning(session, flags, input, options);
  return TuneRun(session, flags, input, options).run();
}

Verb addTune(CLI::App &app) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App *verb =
      app.add_subcommand("tune", "find the fastest kernels of a layer on this machine, or predict them for a GPU");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, or preset")->required();
  verb->add_option("--tokens", flags->tokens, "calls that matter: 1,2,4-64*2")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--budget", flags->budget, "time to search for: 30s, 10m, 1h, full")->capture_default_str();
  verb->add_option("-o,--output", flags->output, "file of records to add to; default: SPEC.tune.jsonl beside the spec")
      ->type_name("FILE");
  verb->add_option("--stage", flags->stage, "only this stage")->type_name("NAME");
  verb->add_option("--skew", flags->skew,
                   "routing: uniform, zipf, or a file with a JSON list of how often each expert was chosen")
      ->type_name("uniform|zipf|FILE")
      ->capture_default_str();
  verb->add_flag("!--no-confirm", flags->confirm, "leave out whole calls and verify at the end");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  verb->add_option("--gpu", flags->gpu, "cuda targets: the device to predict for: " + gpuKeys())->type_name("NAME");
  verb->add_option("--prepare", flags->prepare,
                   "measure nothing: write a folder whose program `run` measures the candidates on another machine")
      ->type_name("DIR")
      ->excludes("--budget", "--output", "--no-confirm", "--json");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runTune(session, *flags); }};
}

} // namespace moec
