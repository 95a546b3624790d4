// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which choice is used, in what order, and the reason given for every other record.

#include "codegen/tune/TuneLookup.h"
#include "codegen/TemplateFiles.h"
#include "codegen/schedule/CpuSchedule.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneSchedule.h"
#include "tests/schedule/MatmulStages.h"
#include "tests/tune/TuneRecords.h"

#include "dsl/text/Sha256.h"

namespace moec {
namespace {

TuneQuery query() {
  TuneRecord record = measurement();
  TuneQuery q;
  q.stage = record.stage;
  q.target = record.target;
  q.machine = record.machine;
  q.now = record.stamp;
  return q;
}

struct Given {
  TuneRecord record;
  TuneSource source = TuneSource::Project;
};

TuneSet setOf(const std::vector<Given> &given) {
  TuneSet set;
  for (const Given &g : given) {
    TuneFile file;
    file.path = "f" + std::to_string(set.files.size());
    file.records = {{g.record, 1}};
    set.add(std::move(file), g.source);
  }
  return set;
}

// "used 1; 0 stale: timing method 0, this is 1; ..."
std::string text(const TuneAnswer &answer) {
  std::string out = answer.used ? "used " + std::to_string(*answer.used) + " " + deviceMatchName(answer.match) : "none";
  for (const TuneRejection &rejection : answer.rejected)
    out += "\n" + std::to_string(rejection.item) + " " + rejection.text;
  return out;
}

std::string look(const std::vector<Given> &given, const TuneQuery &q = query(), int64_t rows = 10) {
  TuneSet set = setOf(given);
  return text(TuneLookup(set, q).at(rows));
}

TuneRecord chosen(int blockM = 6) { return choice({9, 12}, panel(blockM, 12)); }

template <typename Change> TuneRecord changed(TuneRecord record, Change change) {
  change(record);
  return record;
}

// panel_m is not in the code: the kernel is wrong with every number of packed rows.
TEST(lookup, a_wrong_kernel_is_wrong_with_other_packed_rows) {
  TuneRecord wrong = changed(measurement(), [](TuneRecord &record) {
    record.candidate = panel(6, 12), record.result = TuneResult::Wrong, record.detail = "row 3", record.times.reset();
  });
  std::string answer = look({{choice({9, 12}, panel(6, 24))}, {wrong}});
  EXPECT_EQ(answer.substr(0, 28), "none\n0 wrong: measured by f1");
  EXPECT_EQ(look({{choice({9, 12}, panel(4, 24))}, {wrong}}).substr(0, 6), "used 0");
}

// Stages of one shape in one layer, as those of a forward and a backward pass: each prefers its own record.
TEST(lookup, the_stage_of_the_name_comes_before_a_newer_one_of_its_shape) {
  TuneRecord other = changed(chosen(4), [](TuneRecord &record) {
    record.stage.name = "experts_up_dgrad", record.stamp.date = "2026-11-28T10:00:00Z";
  });
  EXPECT_EQ(look({{chosen()}, {other}}), "used 0 exact\n1 superseded: by f0:1");
  TuneQuery dgrad = query();
  dgrad.stage.name = "experts_up_dgrad";
  EXPECT_EQ(look({{chosen()}, {other}}, dgrad), "used 1 exact\n0 superseded: by f1:1");
  EXPECT_EQ(look({{chosen()}}, dgrad), "used 0 exact");
  TuneRecord otherSpec = changed(other, [](TuneRecord &record) { record.stage.spec = std::string(64, 'b'); });
  EXPECT_EQ(look({{chosen()}, {otherSpec}}, dgrad), "used 0 exact\n1 superseded: by f0:1");
}

TEST(lookup, nothing_known) { EXPECT_EQ(look({}), "none"); }

TEST(lookup, one_choice_is_used_at_its_rows) {
  EXPECT_EQ(look({{chosen()}}), "used 0 exact");
  EXPECT_EQ(look({{chosen()}}, query(), 9), "used 0 exact");
  EXPECT_EQ(look({{chosen()}}, query(), 12), "used 0 exact");
  EXPECT_EQ(look({{chosen()}}, query(), 13), "none");
  EXPECT_EQ(look({{choice({9, -1}, panel(6, 12))}}, query(), 5000), "used 0 exact");
}

TEST(lookup, every_reason_is_given) {
  TuneRecord wrong = measurement(), failed = measurement(), slow = measurement();
  wrong.candidate = panel(4, 12), wrong.result = TuneResult::Wrong, wrong.detail = "row 3", wrong.times.reset();
  failed.candidate = panel(5, 12), failed.result = TuneResult::Failed, failed.detail = "no \x1b[0m registers";
  slow.candidate = panel(2, 12), slow.times->gain = 0.004;
  TuneRecord timeout = changed(failed, [](TuneRecord &r) { r.result = TuneResult::Timeout; });
  EXPECT_EQ(look({
                {changed(chosen(), [](TuneRecord &r) { r.target = "cpu:avx2"; })},
                {changed(chosen(), [](TuneRecord &r) { r.stage.k = 768; })},
                {changed(chosen(), [](TuneRecord &r) { r.stamp.timing = 0; })},
                {changed(chosen(), [](TuneRecord &r) { r.stamp.abi = "2.0"; })},
                {wrong},
                {choice({9, 12}, panel(4, 12))},
                {failed},
                {timeout},
                {slow},
                {measurement()},
                {changed(chosen(3), [](TuneRecord &r) { r.machine.cpu->model = 97; })},
                {chosen(2), TuneSource::Shipped},
                {changed(chosen(1), [](TuneRecord &r) { r.stamp.date = "2026-01-01T00:00:00Z"; })},
                {chosen()},
            }),
            "used 13 exact\n"
            "2 stale: timing method 0, this is 1\n"
            "3 stale: package ABI 2.0, this is 1.0\n"
            "4 wrong: row 3\n"
            "5 wrong: measured by f4:1: row 3\n"
            "6 failed: no \\x1b[0m registers\n"
            "7 failed: it took too long\n"
            "8 slower: +0.4 %, chosen was +6.0 %\n"
            "9 evidence: +6.0 %\n"
            "10 other device: AMD EPYC (AuthenticAMD 25/97); f13:1 is of AMD EPYC (AuthenticAMD 25/17)\n"
            "11 other source: shipped; f13:1 is project\n"
            "12 superseded: by f13:1");
  EXPECT_EQ(look({{slow}}), "none\n0 undecided: +0.4 %, and no choice was made; moec tune goes on where it stopped");
}

TEST(lookup, device_comes_before_source) {
  TuneRecord family = changed(chosen(), [](TuneRecord &r) { r.machine.cpu->model = 97; });
  TuneRecord foreign = changed(chosen(), [](TuneRecord &r) { r.machine.cpu->vendor = "GenuineIntel"; });
  EXPECT_EQ(
      look({{foreign, TuneSource::User}, {family, TuneSource::Project}, {chosen(), TuneSource::Shipped}}).substr(0, 12),
      "used 2 exact");
  EXPECT_EQ(look({{foreign, TuneSource::User}, {family, TuneSource::Project}}).substr(0, 13), "used 1 family");
  EXPECT_EQ(look({{foreign, TuneSource::User}}), "used 0 foreign");
}

TEST(lookup, what_was_measured_comes_before_predictions) {
  TuneRecord predicted = changed(chosen(), [](TuneRecord &r) { r.predicted = true; });
  TuneRecord foreign = changed(chosen(), [](TuneRecord &r) { r.machine.cpu->vendor = "GenuineIntel"; });
  EXPECT_EQ(look({{predicted, TuneSource::User}, {foreign}}),
            "used 1 foreign\n0 superseded: by f1:1, which was measured");
  TuneSet set = setOf({{predicted}});
  EXPECT_EQ(originText(set, {{9, 12}, 0, DeviceMatch::Exact, {}}), "f0:1, project, exact machine, predicted");
}

TEST(lookup, then_source_then_spec_then_threads_then_date) {
  TuneRecord other = changed(chosen(), [](TuneRecord &r) { r.stage.spec = std::string(64, 'b'); });
  TuneRecord threads = changed(chosen(), [](TuneRecord &r) { r.threads = 2; });
  TuneRecord late = changed(chosen(), [](TuneRecord &r) { r.stamp.date = "2026-12-01T00:00:00Z"; });
  TuneQuery q = query();
  q.threads = 1;
  EXPECT_EQ(look({{late}, {chosen(), TuneSource::User}, {late, TuneSource::Shipped}}, q).substr(0, 6), "used 1");
  EXPECT_EQ(look({{changed(other, [](TuneRecord &r) { r.stamp.date = "2027-01-01T00:00:00Z"; })}, {chosen()}}, q)
                .substr(0, 6),
            "used 1");
  EXPECT_EQ(look({{other}}, q), "used 0 exact") << "another layer with the same shape";
  EXPECT_EQ(look({{changed(threads, [](TuneRecord &r) { r.stamp.date = "2027-01-01T00:00:00Z"; })}, {chosen()}}, q)
                .substr(0, 6),
            "used 1");
  EXPECT_EQ(look({{threads}}, q), "used 0 exact");
  EXPECT_EQ(look({{late}, {chosen()}}, q).substr(0, 6), "used 0");
  EXPECT_EQ(look({{chosen(1)}, {chosen(2)}}, q).substr(0, 6), "used 1") << "of one second the later line";
}

TEST(lookup, a_wrong_kernel_is_never_used) {
  TuneRecord wrong = changed(measurement(), [](TuneRecord &r) {
    r.result = TuneResult::Wrong, r.detail = "row 3", r.times.reset();
    r.rows = {1, 1};
    r.machine.cpu->vendor = "GenuineIntel"; // a mistake of the code, whatever machine showed it
    r.candidate =
        "panel{block_m=6, panel_m=12, prefetch_block=32, streams=4, hint=t1, a_hint=none, block_k=32} numeric fma";
  });
  EXPECT_EQ(look({{chosen()}, {wrong}, {chosen(3)}}), "used 2 exact\n0 wrong: measured by f1:1: row 3");
  // a later measurement by the same version does not make it right, one by another version does
  TuneRecord right =
      changed(measurement(), [](TuneRecord &r) { r.rows = {1, 1}, r.stamp.date = "2027-01-01T00:00:00Z"; });
  EXPECT_EQ(look({{chosen()}, {wrong}, {right}}).substr(0, 4), "none");
  right.stamp.moec = "0.1.1";
  EXPECT_EQ(look({{chosen()}, {wrong}, {right}}).substr(0, 6), "used 0");
  right.rows = {2, 2};
  EXPECT_EQ(look({{chosen()}, {wrong}, {right}}).substr(0, 4), "none") << "right elsewhere says nothing";
  wrong.stamp.timing = 0;
  EXPECT_EQ(look({{chosen()}, {wrong}}).substr(0, 6), "used 0") << "stale";
}

// A kernel of --templates that was repaired is another kernel, and records of the built-in one say nothing about it.
TEST(lookup, a_record_is_about_one_text_of_its_template) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("kernels"));
  std::string text = (*readTemplate("", "kernels/panel.mlir"))->text + "// mine\n", hash = hexText(sha256(text));
  writeFile(folder.file("kernels/panel.mlir"), text);
  TuneQuery q = query();
  q.templatesDir = folder.path;
  auto of = [](TuneRecord record, const std::string &templateHash) {
    record.templateHash = templateHash;
    return record;
  };
  std::string other(64, 'c'), own = "measured was one moec's own, this is one of SHA-256 " + hash.substr(0, 12);
  TuneRecord wrong =
      changed(measurement(), [](TuneRecord &r) { r.result = TuneResult::Wrong, r.detail = "row 3", r.times.reset(); });
  EXPECT_EQ(look({{chosen()}}, q), "none\n0 other template: " + own);
  EXPECT_EQ(look({{of(chosen(), hash)}}, q), "used 0 exact");
  EXPECT_EQ(look({{of(chosen(), hash)}}),
            "none\n0 other template: measured was one of SHA-256 " + hash.substr(0, 12) + ", this is one moec's own");
  EXPECT_EQ(look({{of(chosen(), hash)}, {wrong}}, q), "used 0 exact\n1 other template: " + own);
  EXPECT_EQ(look({{of(chosen(), hash)}, {of(wrong, other)}}, q).substr(0, 12), "used 0 exact");
  EXPECT_EQ(look({{of(chosen(), hash)}, {of(wrong, hash)}}, q).substr(0, 4), "none");
  // a file that repeats the built-in text is the built-in template
  writeFile(folder.file("kernels/panel.mlir"), (*readTemplate("", "kernels/panel.mlir"))->text);
  EXPECT_EQ(look({{chosen()}}, q), "used 0 exact");
}

TEST(lookup, other_bits_are_refused) {
  TuneQuery q = query();
  q.numerics = {"amx"};
  EXPECT_EQ(look({{chosen()}}, q), "none\n0 other bits: numeric fma, the package has amx");
  q.numerics = {"amx", "fma"};
  EXPECT_EQ(look({{chosen()}}, q), "used 0 exact");
}

TEST(lookup, an_illegal_choice_leaves_room_for_the_next) {
  TuneQuery q = query();
  q.legal = [](const std::string &candidate, TuneClass) -> Result<> {
    return candidate == panel(6, 12) ? Result<>(Diagnostic::error("E-SCHEDULE", "S9: no")) : Result<>();
  };
  EXPECT_EQ(look({{chosen(3)}, {chosen(6)}}, q), "used 0 exact\n1 illegal: S9: no");
}

TEST(lookup, cuda) {
  auto h200 = [](TuneRecord &r) {
    r.target = "cuda:sm_90a";
    r.machine.cpu.reset();
    r.machine.gpu = TuneGpu{"NVIDIA H200", 90, 132, 13000};
    r.candidate = r.standard = "multistage { block_m = 16 }";
  };
  TuneRecord record = changed(chosen(), h200);
  TuneQuery q = query();
  q.target = "cuda:sm_90a";
  q.machine.gpu = TuneGpu{"NVIDIA H100 80GB HBM3", 90, 132, 12040};
  EXPECT_EQ(look({{record}}, q), "used 0 family");
  q.machine.gpu->multiprocessors = 114;
  EXPECT_EQ(look({{record}}, q), "used 0 foreign");
  q.machine.gpu.reset(); // compiling where there is no GPU
  EXPECT_EQ(look({{record}}, q), "used 0 foreign");
}

// ---- a whole stage -----------------------------------------------------------------------------------------------

struct Staged {
  MatmulStage facts = matmulStage("experts_down", 2048, 1024, 1, true, true);
  StageSchedule standard;
  Staged() {
    facts.gathered = true;
    facts.result = MOEC_BF16;
    // A schedule of its own, so that better heuristics do not change what is expected here.
    standard.stage = facts.name;
    standard.isa = Isa::Avx512;
    int64_t first = 1;
    const std::tuple<int64_t, int, int> classes[] = {{1, 1, 1}, {2, 2, 2},    {3, 3, 3},   {4, 4, 4},   {6, 6, 6},
                                                     {8, 8, 8}, {12, 12, 12}, {32, 8, 32}, {64, 8, 64}, {-1, 8, 128}};
    for (auto [last, height, rows] : classes) {
      standard.entries.push_back(*cpuCandidate(panel(height, rows), {first, last}));
      first = last + 1;
    }
  }
  TuneQuery query() const {
    TuneQuery q = moec::query();
    q.stage = tuneStageOf(facts, std::string(64, 'a'), "tiny");
    return q;
  }
  TunedStage<StageSchedule> tune(const std::vector<Given> &given) {
    TunedStage<StageSchedule> tuned = tuneStage(facts, standard, setOf(given), query());
    Result<> legal = checkStage(facts, tuned.schedule);
    EXPECT_TRUE(legal) << legal.error().message;
    return tuned;
  }
};

std::string ranges(const StageSchedule &stage) {
  std::string out;
  for (const ScheduleEntry &entry : stage.entries)
    out += (out.empty() ? "" : " ") + rowRangeText(entry) + ":" + std::to_string(entry.kernel.integers.at("block_m"));
  return out;
}

template <typename Stage> std::string sources(const TunedStage<Stage> &tuned) {
  std::string out;
  for (const TunedRange &range : tuned.ranges)
    out += (out.empty() ? "" : " ") + classText(range.rows) + "=" + (range.item ? std::to_string(*range.item) : "-");
  return out;
}

TEST(schedule, facts_become_the_shape_of_records) {
  Staged staged;
  EXPECT_TRUE(staged.query().stage.sameShape(measurement().stage));
  EXPECT_TRUE(tuneStageOf(*matmulStageOf(measurement().stage), "", "").sameShape(measurement().stage));
}

TEST(schedule, without_records_it_is_the_heuristics) {
  Staged staged;
  TunedStage<StageSchedule> tuned = staged.tune({});
  EXPECT_EQ(ranges(tuned.schedule), ranges(staged.standard));
  EXPECT_EQ(sources(tuned), "1..=-");
}

TEST(schedule, a_choice_replaces_its_rows) {
  Staged staged;
  TunedStage<StageSchedule> tuned = staged.tune({{chosen(6)}});
  EXPECT_EQ(ranges(staged.standard), "1..1:1 2..2:2 3..3:3 4..4:4 5..6:6 7..8:8 9..12:12 13..32:8 33..64:8 65..:8");
  EXPECT_EQ(ranges(tuned.schedule), "1..1:1 2..2:2 3..3:3 4..4:4 5..6:6 7..8:8 9..12:6 13..32:8 33..64:8 65..:8");
  EXPECT_EQ(sources(tuned), "1..8=- 9..12=0 13..=-");
  // ranges that are not those of the heuristics, a later one on top of an earlier one
  TuneRecord wide =
      changed(choice({5, 40}, panel(4, 64)), [](TuneRecord &r) { r.stamp.date = "2026-01-01T00:00:00Z"; });
  tuned = staged.tune({{wide}, {choice({10, 11}, panel(6, 12))}});
  EXPECT_EQ(ranges(tuned.schedule), "1..1:1 2..2:2 3..3:3 4..4:4 5..9:4 10..11:6 12..40:4 41..64:8 65..:8");
  EXPECT_EQ(sources(tuned), "1..4=- 5..9=0 10..11=1 12..40=0 41..=-");
}

TEST(schedule, choices_cover_everything_and_merge) {
  Staged staged;
  TunedStage<StageSchedule> tuned =
      staged.tune({{choice({1, 8}, panel(8, 64))}, {choice({9, 30}, panel(8, 64))}, {choice({31, -1}, panel(4, 64))}});
  EXPECT_EQ(ranges(tuned.schedule), "1..30:8 31..:4");
  EXPECT_EQ(sources(tuned), "1..8=0 9..30=1 31..=2");
}

TEST(schedule, an_illegal_entry_leaves_its_rows_to_the_heuristics) {
  Staged staged;
  TunedStage<StageSchedule> tuned = staged.tune({{choice({13, 32}, panel(8, 16))}});
  EXPECT_EQ(ranges(tuned.schedule), ranges(staged.standard));
  EXPECT_EQ(sources(tuned), "1..=-");
  ASSERT_EQ(tuned.ranges.size(), 1u);
  tuned = staged.tune({{choice({100, 150}, panel(8, 160))}});
  EXPECT_EQ(ranges(tuned.schedule), ranges(staged.standard))
      << "the open entry of the heuristics packs 128 rows and cannot begin at 151";
}

TEST(schedule, an_illegal_entry_leaves_its_rows_to_another_choice) {
  Staged staged;
  TuneRecord early = changed(chosen(6), [](TuneRecord &r) { r.stamp.date = "2026-01-01T00:00:00Z"; });
  TuneSet set = setOf({{choice({9, 12}, panel(6, 6))}, {early}});
  TunedStage<StageSchedule> tuned = tuneStage(staged.facts, staged.standard, set, staged.query());
  ASSERT_EQ(sources(tuned), "1..8=- 9..12=1 13..=-");
  EXPECT_EQ(originText(set, tuned.ranges[0]), "heuristics");
  EXPECT_EQ(originText(set, tuned.ranges[1]), "f1:1, project, exact machine");
  EXPECT_EQ(rejectedText(tuned.ranges), "1 illegal");
  EXPECT_EQ(rejectedText({}), "");
}

TEST(schedule, a_choice_that_cuts_a_default_is_refused_alone) {
  Staged staged;
  TunedStage<StageSchedule> tuned = staged.tune({{choice({100, 150}, panel(8, 160))}, {chosen(6)}});
  EXPECT_EQ(ranges(tuned.schedule), "1..1:1 2..2:2 3..3:3 4..4:4 5..6:6 7..8:8 9..12:6 13..32:8 33..64:8 65..:8");
  bool said = false;
  for (const TunedRange &range : tuned.ranges)
    for (const TuneRejection &rejection : range.rejected)
      said |= rejection.item == 0 && rejection.reason == TuneReason::Illegal &&
              rejection.text == "illegal: beside the other entries: stage experts_down avx512 rows 151..: S2: "
                                "panel_m is 128, expected at least 151, the first row of the entry";
  EXPECT_TRUE(said);
}

TEST(schedule, cuda_stage) {
  Staged staged;
  CudaStage standard = cudaSchedule(staged.facts, CudaArch::Sm80);
  CudaEntry entry = standard.entries.back();
  entry.kernel.integers["stages"] = entry.kernel.integers["stages"] == 2 ? 3 : 2;
  TuneRecord record = choice({5, 20}, candidateText(entry));
  record.target = "cuda:sm_80";
  record.machine.gpu = TuneGpu{"NVIDIA A100", 80, 108, 12040};
  TuneQuery q = staged.query();
  q.machine = record.machine;
  TunedStage<CudaStage> tuned = tuneStage(staged.facts, standard, setOf({{record}}), q);
  EXPECT_EQ(sources(tuned), "1..4=- 5..20=0 21..=-");
  Result<> legal = checkStage(staged.facts, tuned.schedule);
  EXPECT_TRUE(legal) << legal.error().message;
  EXPECT_EQ(tuned.ranges[1].match, DeviceMatch::Exact);
  record.candidate = "multistage { block_m = 7 }";
  tuned = tuneStage(staged.facts, standard, setOf({{record}}), q);
  EXPECT_EQ(sources(tuned), "1..=-");
}

TEST(schedule, records_alone_make_a_schedule_if_they_cover_all_rows) {
  Staged staged;
  auto recorded = [&](const std::vector<Given> &given) {
    return recordedStage(Isa::Avx512, setOf(given), staged.query());
  };
  Result<TunedStage<StageSchedule>> stage =
      recorded({{choice({1, 12}, panel(6, 12))}, {choice({13, -1}, panel(8, 64))}});
  ASSERT_TRUE(stage) << stage.error().message;
  EXPECT_EQ(ranges(stage->schedule), "1..12:6 13..:8");
  stage = recorded({{choice({1, 12}, panel(6, 12))}, {choice({14, -1}, panel(8, 64))}});
  ASSERT_FALSE(stage);
  EXPECT_EQ(stage.error().code, "E-RECORD");
  EXPECT_EQ(stage.error().message, "stage experts_down cpu:avx512: no usable choice for 13..13");
  stage = recorded({{choice({1, -1}, panel(64, 64))}});
  ASSERT_FALSE(stage);
  EXPECT_EQ(stage.error().message, "stage experts_down cpu:avx512: no usable choice for 1.. (1 illegal)");
}

} // namespace
} // namespace moec
