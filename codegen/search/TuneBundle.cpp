// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ranges are compiled in parallel, each in one object, and linked one after the other.

#include "codegen/search/TuneBundle.h"

#include "codegen/Workers.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/emit/PackageLibrary.h"
#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <tuple>

namespace moec {

size_t TuneBundle::numRanges() const {
  size_t count = 0;
  for (const BundleStage &stage : stages)
    count += stage.ranges.size();
  return count;
}

static size_t countCandidates(const TuneBundle &bundle, bool failed) {
  size_t count = 0;
  for (const BundleStage &stage : bundle.stages)
    for (const BundleRange &range : stage.ranges)
      count += size_t(llvm::count_if(llvm::drop_begin(range.candidates),
                                     [&](const BundleCandidate &c) { return c.failed.empty() != failed; }));
  return count;
}
size_t TuneBundle::numCandidates() const { return countCandidates(*this, false); }
size_t TuneBundle::numFailed() const { return countCandidates(*this, true); }

// Multiplications of a token.
static double workOf(const MatmulStage &stage) {
  return double(stage.n) * double(stage.k) * double(stage.parts * stage.rowsPerToken);
}

namespace {

class BundleMaker {
public:
  BundleMaker(StageCompiler &compiler, const BundleOptions &options, llvm::StringRef workDir)
      : compiler(compiler), options(options), workDir(workDir) {}

  Result<TuneBundle> run() {
    bundle.layer = options.stamp.stage.layer;
    listRanges();
    if (bundle.stages.empty())
      return compiler.nothingToTune(options.stage);
    compileAll();
    for (Task &task : tasks)
      if (task.error)
        return task.error->within(task.stage->schedule.stage);
    for (Task &task : tasks)
      if (Result<> linked = link(task); !linked)
        return linked.takeError();
    for (BundleStage &stage : bundle.stages)
      layOut(stage);
    return std::move(bundle);
  }

private:
  struct Task {
    BundleStage *stage;
    BundleRange *range;
    StageObject object;
    std::optional<Diagnostic> error;
  };

  void listRanges() {
    std::vector<StageCompiler *> passes = compiler.passes();
    for (StageCompiler *pass : passes)
      listPass(*pass);
    std::sort(bundle.stages.begin(), bundle.stages.end(), [&](const BundleStage &a, const BundleStage &b) {
      auto order = [&](const BundleStage &s) {
        return std::tuple(-workOf(s.facts()), llvm::find(passes, s.pass), s.step, s.schedule.isa);
      };
      return order(a) < order(b);
    });
    for (BundleStage &stage : bundle.stages)
      for (BundleRange &range : stage.ranges)
        tasks.push_back({&stage, &range, {}, {}});
  }

  void listPass(StageCompiler &pass) {
    for (size_t step = 0; step < pass.stages().size(); ++step)
      for (const StageSchedule &schedule : pass.schedule().stages) {
        const MatmulStage &facts = pass.stages()[step];
        if (schedule.stage != facts.name || (!options.stage.empty() && options.stage != schedule.stage))
          continue;
        BundleStage stage;
        stage.pass = &pass;
        stage.step = step;
        stage.schedule = schedule;
        for (RowClass &rows : rowClasses(facts, schedule, options.tokens, options.routing)) {
          stage.ranges.emplace_back();
          stage.ranges.back().rows = std::move(rows);
        }
        std::sort(stage.ranges.begin(), stage.ranges.end(), [](const BundleRange &a, const BundleRange &b) {
          return std::tuple(-a.rows.weight, a.rows.entry) < std::tuple(-b.rows.weight, b.rows.entry);
        });
        if (!stage.ranges.empty())
          bundle.stages.push_back(std::move(stage));
      }
  }

  void compileAll() {
    std::atomic<size_t> next = 0, done = 0;
    auto work = [&] {
      for (size_t i = next++; i < tasks.size(); i = next++) {
        compile(tasks[i]);
        std::lock_guard<std::mutex> guard(lock);
        if (options.progress)
          options.progress(++done, tasks.size());
      }
    };
    runOnThreads(options.jobs, work);
  }

  void compile(Task &task) {
    const BundleStage &stage = *task.stage;
    BundleRange &range = *task.range;
    const ScheduleEntry &standard = stage.schedule.entries[range.rows.entry];
    const MatmulStage &facts = stage.facts();
    int64_t mostRows = standard.lastRow < 0 ? standard.kernel.integers.at("panel_m") : standard.lastRow;
    std::vector<ScheduleEntry> entries =
        neighbours(facts, stage.schedule.isa, standard, range.rows.rows, mostRows, options.space);
    if (auto usual = heuristicEntry(facts, stage.schedule.isa, standard, range.rows.rows, mostRows, options.space);
        usual && candidateText(*usual) != candidateText(standard))
      entries.insert(entries.begin(), std::move(*usual));
    entries.insert(entries.begin(), standard);
    std::vector<BundleCandidate> failed;
    Result<StageObject> object = stage.pass->compile(stage.step, stage.schedule.isa, entries);
    if (!object) {
      dropFailing(stage, entries, failed);
      object = stage.pass->compile(stage.step, stage.schedule.isa, entries);
    }
    if (!object) {
      task.error = object.takeError();
      return;
    }
    task.object = std::move(*object);
    std::set<std::string> taken;
    for (size_t i = 0; i < entries.size(); ++i)
      if (taken.insert(task.object.symbols[i]).second)
        range.candidates.push_back({std::move(entries[i]), task.object.symbols[i], "", -1});
    llvm::append_range(range.candidates, failed);
    if (standard.lastRow < 0)
      addTallBlocks(range);
  }

  // Builds each candidate alone; those that cannot be built move to `failed`.
  void dropFailing(const BundleStage &stage, std::vector<ScheduleEntry> &entries,
                   std::vector<BundleCandidate> &failed) {
    std::vector<ScheduleEntry> good = {entries.front()};
    for (ScheduleEntry &entry : llvm::drop_begin(entries)) {
      Result<StageObject> object = stage.pass->compile(stage.step, stage.schedule.isa, {entry});
      if (object)
        good.push_back(std::move(entry));
      else
        failed.push_back({std::move(entry), "", object.error().placedMessage(), -1});
    }
    entries = std::move(good);
  }

  // Blocks of an open range are as high as the candidate's panel_m.
  static void addTallBlocks(BundleRange &range) {
    std::vector<int64_t> &checked = range.rows.checked;
    for (const BundleCandidate &candidate : range.candidates)
      while (checked.back() < candidate.entry.kernel.integers.at("panel_m"))
        checked.push_back(checked.back() + 1);
  }

  Result<> link(Task &task) {
    TuneClass rows = {task.stage->schedule.entries[task.range->rows.entry].firstRow,
                      task.stage->schedule.entries[task.range->rows.entry].lastRow};
    std::string name = task.stage->schedule.stage + "_" + isaFacts(task.stage->schedule.isa).name.str() + "_" +
                       std::to_string(rows.first) + (rows.last < 0 ? "_up" : "_" + std::to_string(rows.last));
    // A package of no layer: its function table is what the runner asks for.
    CompiledPackage package;
    package.name = "candidates";
    PlanObjectInput table;
    table.name = package.name;
    table.plan = {0};
    for (BundleCandidate &candidate : task.range->candidates)
      if (candidate.failed.empty()) {
        candidate.function = int64_t(table.functions.size());
        table.functions.push_back(candidate.symbol);
      }
    Result<Bytes> object = emitPlanObject(table);
    if (!object)
      return object.takeError();
    package.objects.push_back(std::move(task.object.file));
    package.objects.push_back({"table.o", std::move(*object)});
    Result<std::string> bytes = sharedLibraryBytes(package, LibraryContents::Kernels, workDir);
    if (!bytes)
      return bytes.takeError();
    task.range->library = {"kernels/" + name + ".so", std::move(*bytes)};
    task.stage->scratchBytes = std::max(task.stage->scratchBytes, task.object.scratchBytes);
    return {};
  }

  void layOut(BundleStage &stage) {
    int64_t most = stage.schedule.entries.back().kernel.integers.at("panel_m");
    for (const BundleRange &range : stage.ranges) {
      most = std::max(most, range.rows.rows);
      most = std::max(most, *std::max_element(range.rows.checked.begin(), range.rows.checked.end()));
    }
    stage.layout = stageLayout(stage.facts(), most, options.coldBytes);
  }

  StageCompiler &compiler;
  const BundleOptions &options;
  llvm::StringRef workDir;
  TuneBundle bundle;
  std::vector<Task> tasks;
  std::mutex lock;
};

} // namespace

Result<TuneBundle> makeBundle(StageCompiler &compiler, const BundleOptions &options, llvm::StringRef workDir) {
  return BundleMaker(compiler, options, workDir).run();
}

} // namespace moec
