// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Stages of a backward pass: they are found, searched like others, and their records are used where they should be.

#include "tests/search/SearchFixture.h"

#include "codegen/tune/TuneSources.h"

#include "llvm/ADT/STLExtras.h"

#include <set>

namespace moec {
namespace {

// gate and up of `hidden` x `intermediate`; down has the shape of their gradients and they that of down's.
std::string trainedLayer(const std::string &name = "small", int intermediate = 96) {
  return R"({"moec": 1, "name": ")" + name +
         R"(", "dtype": "f32", "passes": ["forward", "backward"], "hidden": 64,
             "router": {"top_k": 2, "normalize": {"kind": "sum"}}, "experts": {"count": 4, "intermediate": )" +
         std::to_string(intermediate) + "}}";
}

std::vector<std::string> matmulNames(const StageCompiler &pass) {
  std::vector<std::string> names;
  for (const MatmulStage &stage : pass.stages())
    if (!stage.name.empty())
      names.push_back(stage.name);
  return names;
}

std::shared_ptr<const TuneSet> setOf(const std::vector<TuneRecord> &records) {
  auto set = std::make_shared<TuneSet>();
  TuneFile file;
  file.path = "memory.jsonl";
  for (const TuneRecord &record : records)
    file.records.push_back({record, file.records.size() + 1});
  set->add(std::move(file), TuneSource::User);
  return set;
}

// The layer of `json` compiled for AVX2 with these records.
std::unique_ptr<CompiledPackage> compiled(const std::string &json, const std::vector<TuneRecord> &records) {
  SearchFixture fixture(json);
  fixture.options.tuning = setOf(records);
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> package = compileLayer(fixture.input, fixture.options, errors);
  for (const Diagnostic &error : errors)
    ADD_FAILURE() << error.placedMessage();
  return package;
}

// A choice for blocks of 9 rows of `stage` that heuristics do not make, as a search would record it.
TuneRecord choiceFor(const std::string &stage, int64_t blockM, const std::string &date) {
  SearchFixture fixture(trainedLayer());
  for (StageCompiler *pass : fixture.compiler->passes())
    for (const MatmulStage &facts : pass->stages()) {
      if (facts.name != stage)
        continue;
      TuneRecord record = fixture.search.stamp;
      record.kind = TuneRecord::Choice;
      record.stage = tuneStageOf(facts, record.stage.spec, "small");
      record.target = targetOf(Isa::Avx2);
      record.rows = {9, 9};
      ScheduleEntry entry = pass->schedule().find(stage, Isa::Avx2)->entries.back();
      record.standard = candidateText(entry);
      entry.kernel.integers["block_m"] = blockM;
      entry.kernel.integers["panel_m"] = 12;
      record.candidate = candidateText(entry);
      record.times = TuneTimes{{100, 99, 101}, {90, 89, 91}, 15, 15, 0.11, 0.1, 0.12, 1000, 1000};
      record.stamp.date = date;
      return record;
    }
  ADD_FAILURE() << "no stage " << stage;
  return {};
}

// "experts_down_dgrad" -> the block_m of blocks of 9 rows; 0: the stage has no range of its own for them.
int64_t blockOfNine(const CompiledPackage &package, const std::string &stage) {
  Result<Schedule> schedule = parseSchedule(package.scheduleText, "schedule.txt", "");
  if (!schedule)
    return -1;
  for (const ScheduleEntry &entry : schedule->find(stage, Isa::Avx2)->entries)
    if (entry.firstRow == 9 && entry.lastRow == 9)
      return entry.kernel.integers.at("block_m");
  return 0;
}

TEST(trained_stages, both_passes_have_their_stages) {
  SearchFixture fixture(trainedLayer());
  std::vector<StageCompiler *> passes = fixture.compiler->passes();
  ASSERT_EQ(passes.size(), 2u);
  EXPECT_EQ(passes[0], fixture.compiler.get());
  EXPECT_EQ(matmulNames(*passes[0]),
            (std::vector<std::string>{"router", "experts_gate", "experts_up", "experts_down"}));
  for (const char *name : {"experts_down_dgrad", "experts_up_dgrad", "experts_gate_dgrad", "router_dgrad"})
    EXPECT_TRUE(llvm::is_contained(matmulNames(*passes[1]), name)) << name;
  for (const StageSchedule &schedule : passes[1]->schedule().stages)
    EXPECT_TRUE(llvm::is_contained(matmulNames(*passes[1]), schedule.stage)) << schedule.stage;
  EXPECT_EQ(passes[0]->fixedStages(), std::vector<std::string>{});
  std::vector<std::string> fixed = passes[1]->fixedStages();
  EXPECT_EQ(std::set<std::string>(fixed.begin(), fixed.end()),
            (std::set<std::string>{"experts_down_wgrad", "experts_gate_wgrad", "experts_up_wgrad", "router_wgrad"}));
  EXPECT_EQ(fixture.compiler->nothingToTune("router_wgrad").message,
            "stage \"router_wgrad\" has nothing to tune: its blocks have one size");
  EXPECT_EQ(fixture.compiler->nothingToTune("up").message, "the layer has no matmul stage \"up\"");
}

TEST(trained_stages, a_layer_that_does_not_train_has_one_pass) {
  SearchFixture fixture(smallLayer("f32"));
  EXPECT_EQ(fixture.compiler->passes(), std::vector<StageCompiler *>{fixture.compiler.get()});
  EXPECT_EQ(fixture.compiler->fixedStages(), std::vector<std::string>{});
}

// Kernels of a backward stage are built from its own pass, measured right, and recorded under its name.
TEST(trained_stages, a_backward_stage_is_searched) {
  if (!machineHas(Isa::Avx2))
    GTEST_SKIP() << "no AVX2";
  SearchFixture fixture(trainedLayer());
  StageCompiler &backward = *fixture.compiler->passes()[1];
  fixture.search.rounds = 1, fixture.search.pairs = 2;
  for (const char *name : {"experts_down_dgrad", "router_dgrad"}) {
    fixture.records.clear();
    size_t step = 0;
    while (backward.stages()[step].name != name)
      ++step;
    const StageSchedule *schedule = backward.schedule().find(name, Isa::Avx2);
    ASSERT_TRUE(schedule);
    StageSearch search(backward, step, *schedule, fixture.search, fixture.earlier);
    std::vector<RowClass> classes = search.classes({16});
    ASSERT_FALSE(classes.empty());
    Result<SearchOutcome> outcome = search.search(classes.back());
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_TRUE(outcome->complete);
    EXPECT_GT(outcome->tried, 5u);
    EXPECT_EQ(outcome->wrong + outcome->failed + outcome->stuck, 0u);
    for (const TuneRecord &record : fixture.records)
      EXPECT_EQ(record.stage.name, name);
    EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
  }
}

TEST(trained_stages, records_of_a_backward_stage_are_used) {
  TuneRecord record = choiceFor("experts_down_dgrad", 2, "2026-11-27T10:00:00Z");
  std::unique_ptr<CompiledPackage> package = compiled(trainedLayer(), {record});
  ASSERT_TRUE(package);
  EXPECT_EQ(blockOfNine(*package, "experts_down_dgrad"), 2);
  EXPECT_EQ(blockOfNine(*package, "experts_gate"), 2) << "of the same shape";
  EXPECT_EQ(blockOfNine(*package, "experts_gate_dgrad"), 0) << "of another shape";
  // What the manifest and --why say of both passes.
  std::set<std::string> stages;
  for (const ScheduleOrigin::Tuned &tuned : package->sources.schedule.tuned)
    stages.insert(tuned.stage + " " + tuned.rows);
  EXPECT_EQ(stages, (std::set<std::string>{"experts_gate 9..9", "experts_up 9..9", "experts_down_dgrad 9..9"}));
  EXPECT_EQ(package->sources.schedule.records, printTuneRecord(record) + "\n");
  EXPECT_TRUE(
      llvm::is_contained(package->tuningNotes, "experts_down_dgrad avx2 9..9: memory.jsonl:1, user, exact machine"));
  // Another layer with the same shapes.
  package = compiled(trainedLayer("other"), {record});
  ASSERT_TRUE(package);
  EXPECT_EQ(blockOfNine(*package, "experts_down_dgrad"), 2);
  package = compiled(trainedLayer("wider", 128), {record});
  ASSERT_TRUE(package);
  EXPECT_EQ(blockOfNine(*package, "experts_down_dgrad"), 0);
}

// Records of forward serve backward stages of the same shape that have none of their own.
TEST(trained_stages, records_of_forward_serve_backward) {
  TuneRecord forward = choiceFor("experts_gate", 1, "2026-11-28T10:00:00Z"),
             own = choiceFor("experts_down_dgrad", 2, "2026-11-27T10:00:00Z");
  std::unique_ptr<CompiledPackage> package = compiled(trainedLayer(), {forward});
  ASSERT_TRUE(package);
  EXPECT_EQ(blockOfNine(*package, "experts_down_dgrad"), 1);
  package = compiled(trainedLayer(), {own, forward});
  ASSERT_TRUE(package);
  EXPECT_EQ(blockOfNine(*package, "experts_down_dgrad"), 2) << "its own, although the other one is newer";
  EXPECT_EQ(blockOfNine(*package, "experts_gate"), 1);
}

} // namespace
} // namespace moec
