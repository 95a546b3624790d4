// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tune: a layer -> which kernels are fastest for it on this machine, as records beside the spec.
//
//   per row range   candidates are built in memory, compared with the default, timed in turn with it (codegen/search)
//   at the end      whole calls of the tuned layer beside the default one, and `verify` of the tuned one (TuneConfirm)

#include "Supervisor.h"
#include "TokenRange.h"
#include "TuneConfirm.h"
#include "Verbs.h"

#include "codegen/emit/Manifest.h"
#include "codegen/search/TuneSearch.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneSources.h"
#include "codegen/tune/TuneStore.h"

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

namespace {

using Clock = std::chrono::steady_clock;

// One row range of one stage, waiting for its turn.
struct Task {
  StageSearch *search = nullptr;
  const StageSchedule *schedule = nullptr;
  RowClass rows;
};

// What the run has found; also the document of --json.
struct Summary {
  std::vector<std::pair<const StageSchedule *, SearchOutcome>> outcomes;
  size_t notReached = 0, measurements = 0, wrong = 0, changed = 0;
};

class TuneRun {
public:
  TuneRun(Session &session, const TuneFlags &flags, const SpecInput &input, const CompileOptions &options)
      : session(session), flags(flags), input(input), options(options) {}

  int run();

private:
  int prepare();
  int searchAll();
  void report(const StageSchedule &schedule, const SearchOutcome &outcome);
  void live(const Task &task, size_t tried, size_t wrong, double gain);
  void clearLine();
  double secondsLeft() const { return budget - std::chrono::duration<double>(Clock::now() - begin).count(); }
  void writeJson();

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
  Summary summary;
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
  std::string path = flags.output.empty() ? projectTuneFile(flags.spec) : flags.output;
  if (access(path.c_str(), F_OK) == 0) {
    Result<TuneFile> file = loadTuneFile(path);
    if (!file)
      return fail(session, file.error());
    for (const Diagnostic &complaint : file->complaints)
      warn(session, complaint.code, complaint.placedMessage());
    for (StoredRecord &stored : file->records)
      earlier.push_back(std::move(stored.record));
  }
  std::vector<Diagnostic> errors;
  compileInput = input.compileInput();
  compiler = StageCompiler::make(compileInput, options, errors);
  if (!compiler)
    return reportCompileErrors(session, input, errors);
  Result<TuneStore> opened = TuneStore::open(path);
  if (!opened)
    return fail(session, opened.error());
  store = std::make_unique<TuneStore>(std::move(*opened));

  const moec_plan_header &header = compiler->plan().header;
  search.stamp.stage.spec = toHex(ArrayRef(header.spec_hash, 32), /*LowerCase=*/true);
  search.stamp.stage.layer = compiler->plan().string(header.name).str();
  search.stamp.machine.cpu = thisCpu();
  search.stamp.stamp = currentStamp(moecVersion());
  search.space = candidateSpace(options.templatesDir, flags.allowBits);
  search.expired = [this] { return secondsLeft() <= 0; };
  search.remember = [this](const TuneRecord &record) -> Result<> {
    ++summary.measurements;
    summary.wrong += record.result == TuneResult::Wrong;
    return store->append(record);
  };
  return ExitDone;
}

// Row ranges by their share of the work, the stages in turn: what a short budget reaches is what matters most.
int TuneRun::searchAll() {
  const std::vector<MatmulStage> &stages = compiler->stages();
  size_t numStages = 0;
  for (size_t step = 0; step < stages.size(); ++step)
    for (const StageSchedule &schedule : compiler->schedule().stages) {
      if (schedule.stage != stages[step].name || (!flags.stage.empty() && flags.stage != schedule.stage))
        continue;
      ++numStages;
      searches.push_back(std::make_unique<StageSearch>(*compiler, step, schedule, search, earlier));
      for (RowClass &rows : searches.back()->classes(tokens))
        tasks.push_back({searches.back().get(), &schedule, std::move(rows)});
    }
  if (!numStages)
    return fail(session, "E-USAGE", "the layer has no matmul stage " + quoteText(flags.stage),
                "moec explain lists the stages");
  std::sort(tasks.begin(), tasks.end(), [](const Task &a, const Task &b) {
    return std::tuple(-a.rows.weight, a.schedule->stage, a.rows.entry) <
           std::tuple(-b.rows.weight, b.schedule->stage, b.rows.entry);
  });
  if (!flags.json)
    session.out << "searching    " << numStages << (numStages == 1 ? " stage, " : " stages, ") << tasks.size()
                << " row ranges; records of earlier runs: " << earlier.size() << "\n";
  session.out.flush();
  for (const Task &task : tasks) {
    if (secondsLeft() <= 0) {
      ++summary.notReached;
      continue;
    }
    search.progress = [&](size_t tried, size_t wrong, double gain) { live(task, tried, wrong, gain); };
    live(task, 0, 0, 0);
    Result<SearchOutcome> outcome = task.search->search(task.rows);
    clearLine();
    if (!outcome)
      return fail(session, outcome.error().within(task.schedule->stage));
    summary.changed += outcome->changed;
    report(*task.schedule, *outcome);
    summary.outcomes.push_back({task.schedule, std::move(*outcome)});
  }
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

// "experts_gate_up avx512_bf16 rows 9..12   block_m 12 -> 6    +6.1 % (5.4 .. 6.8)   11 of 11 pairs"
void TuneRun::report(const StageSchedule &schedule, const SearchOutcome &outcome) {
  if (flags.json)
    return;
  std::string where =
      schedule.stage + " " + isaFacts(schedule.isa).name.str() + " rows " + rowRangeText(outcome.standard);
  std::string what = outcome.changed ? changesText(candidateText(outcome.standard), candidateText(outcome.chosen),
                                                   false, options.templatesDir)
                                     : "default kept";
  session.out << left_justify(where, 40) << " " << left_justify(what, 44);
  if (outcome.pairs)
    session.out << (outcome.changed ? " " : " best ")
                << format("%+.1f %% (%+.1f .. %+.1f)   %lld of %lld pairs", 100 * outcome.gain, 100 * outcome.gainLow,
                          100 * outcome.gainHigh, (long long)outcome.wins, (long long)outcome.pairs);
  if (outcome.known)
    session.out << "   known";
  if (outcome.wrong)
    session.out << "   " << outcome.wrong << " wrong";
  session.out << "\n";
  session.out.flush();
}

void TuneRun::writeJson() {
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attribute("measurements", int64_t(summary.measurements));
    os.attribute("wrong", int64_t(summary.wrong));
    os.attribute("changed", int64_t(summary.changed));
    os.attribute("not_reached", int64_t(summary.notReached));
    os.attributeArray("ranges", [&] {
      for (const auto &[schedule, outcome] : summary.outcomes)
        os.object([&, &schedule = schedule, &outcome = outcome] {
          os.attribute("stage", schedule->stage);
          os.attribute("isa", isaFacts(schedule->isa).name);
          os.attribute("rows", rowRangeText(outcome.standard));
          os.attribute("default", candidateText(outcome.standard));
          os.attribute("chosen", candidateText(outcome.chosen));
          os.attribute("gain", outcome.gain);
          os.attribute("gain_low", outcome.gainLow);
          os.attribute("gain_high", outcome.gainHigh);
          os.attribute("tried", int64_t(outcome.tried));
          os.attribute("wrong", int64_t(outcome.wrong));
          os.attribute("known", outcome.known);
        });
    });
  });
  session.out << "\n";
}

int TuneRun::run() {
  enterStage("tune");
  if (int code = prepare())
    return code;
  CeilingProbe probe(Factors::Bf16, 1);
  if (!probe.ready())
    return fail(session, "E-MEMORY", "not enough memory for the read probe");
  probe.calibrate();
  search.ceilings = probe.best();
  if (!flags.json)
    session.out << "machine      " << machineText(search.stamp.machine, false) << ", " << moec_isa_name(moec_cpu_isa())
                << ", 1 thread; "
                << format("%.1f GFLOP/s (%s), %.2f GB/s\n", probe.best().gflops, peakName(probe.bound()),
                          probe.best().gbps);
  if (int code = searchAll())
    return code;
  std::string path = flags.output.empty() ? projectTuneFile(flags.spec) : flags.output;
  int code = ExitDone;
  if (flags.json)
    writeJson();
  else if (summary.changed && flags.confirm)
    code = confirmTuning(session, flags, path);
  if (!flags.json)
    session.out << path << ": " << summary.measurements << " measurements; " << summary.changed << " of "
                << summary.outcomes.size() << " row ranges changed; candidates wrong: " << summary.wrong
                << "; not reached: " << summary.notReached << "\n";
  if (summary.wrong)
    warn(session, "W-WRONG",
         std::to_string(summary.wrong) + " candidates compute something else than the default; they are never chosen",
         "moec tunedb show " + path + " names them: please report those that use moec's own templates");
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
  if (!options.archs.empty())
    return fail(session, "E-UNSUPPORTED", "moec tune measures CPU targets",
                "leave the cuda targets out; tests/cuda/run.sh measures CUDA kernels on a machine with a GPU");
  for (int isa = MOEC_NUM_ISAS - 1; isa > moec_cpu_isa(); --isa)
    if (options.isas.has(Isa(isa)))
      return fail(session, "E-MACHINE", std::string("this machine does not have ") + moec_isa_name(isa),
                  std::string("it has up to ") + moec_isa_name(moec_cpu_isa()));
  if (int code = loadSpec(session, flags.spec, compileFlags, input))
    return code;
  options.progress = nullptr;
  return TuneRun(session, flags, input, options).run();
}

Verb addTune(CLI::App &app) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App *verb = app.add_subcommand("tune", "find the fastest kernels of a layer on this machine");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, or preset")->required();
  verb->add_option("--tokens", flags->tokens, "calls that matter: 1,2,4-64*2")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--budget", flags->budget, "time to search for: 30s, 10m, 1h, full")->capture_default_str();
  verb->add_option("-o,--output", flags->output, "file of records to add to; default: SPEC.tune.jsonl beside the spec")
      ->type_name("FILE");
  verb->add_option("--stage", flags->stage, "only this stage")->type_name("NAME");
  verb->add_flag("--allow-bits", flags->allowBits, "also kernels that change a result's bits");
  verb->add_flag("!--no-confirm", flags->confirm, "leave out whole calls and verify at the end");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runTune(session, *flags); }};
}

} // namespace moec
