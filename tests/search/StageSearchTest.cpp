// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole searches of small stages on this machine.

#include "tests/search/SearchFixture.h"

#include <algorithm>
#include <set>

namespace moec {
namespace {

class StageSearchTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    if (!machineHas(Isa::Avx2))
      GTEST_SKIP() << "this machine has no AVX2";
  }
};

size_t count(const std::vector<TuneRecord> &records, TuneResult result) {
  return size_t(std::count_if(records.begin(), records.end(), [&](const TuneRecord &record) {
    return record.kind == TuneRecord::Measurement && record.result == result;
  }));
}

std::vector<TuneRecord> choices(const std::vector<TuneRecord> &records) {
  std::vector<TuneRecord> found;
  std::copy_if(records.begin(), records.end(), std::back_inserter(found),
               [](const TuneRecord &record) { return record.kind == TuneRecord::Choice; });
  return found;
}

std::string changeOf(const TuneRecord &record) { return changesText(record.standard, record.candidate, false); }

TEST_P(StageSearchTest, every_candidate_is_right_and_every_record_valid) {
  SearchFixture fixture(smallLayer(GetParam()));
  ASSERT_TRUE(fixture.compiler);
  for (const char *name : {"experts_gate_up", "experts_down"}) {
    std::unique_ptr<StageSearch> search = fixture.start(name);
    for (const RowClass &rows : search->classes({2, 16})) {
      size_t before = fixture.records.size();
      Result<SearchOutcome> outcome = search->search(rows);
      ASSERT_TRUE(outcome) << outcome.error().message;
      std::vector<TuneRecord> own(fixture.records.begin() + long(before), fixture.records.end());
      EXPECT_GT(outcome->tried, 10u);
      EXPECT_TRUE(outcome->complete);
      EXPECT_FALSE(outcome->known);
      EXPECT_EQ(outcome->wrong, 0u);
      EXPECT_EQ(outcome->failed, 0u);
      EXPECT_EQ(outcome->tried, count(own, TuneResult::Ok) + count(own, TuneResult::Timeout));
      // The choice follows the rule, and says so itself.
      ASSERT_EQ(choices(own).size(), 1u);
      TuneRecord choice = choices(own)[0];
      ASSERT_TRUE(choice.times);
      EXPECT_EQ(choice.keepsDefault(), !outcome->changed);
      EXPECT_EQ(choice.candidate, candidateText(outcome->chosen));
      EXPECT_EQ(choice.times->pairs, fixture.search.pairs);
      bool proven = choice.times->gainLow > 0 && choice.times->gain >= fixture.search.minimumGain;
      EXPECT_TRUE(outcome->changed ? proven : choice.candidate == choice.standard);
    }
  }
  for (const TuneRecord &record : fixture.records)
    EXPECT_NE(record.result, TuneResult::Wrong) << record.candidate << ": " << record.detail;
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
  std::set<std::string> questions;
  for (const TuneRecord &record : fixture.records)
    EXPECT_TRUE(questions.insert(questionOf(record, true)).second) << "twice: " << record.candidate;
}
INSTANTIATE_TEST_SUITE_P(types, StageSearchTest, testing::Values("bf16", "f32"));

struct StageSearchRun : testing::Test {
  void SetUp() override {
    if (!machineHas(Isa::Avx2))
      GTEST_SKIP() << "this machine has no AVX2";
  }
  static RowClass lastRange(const StageSearch &search) { return search.classes({16}).back(); }
};

TEST_F(StageSearchRun, that_resumes_measures_nothing_twice) {
  SearchFixture fixture(smallLayer("bf16"));
  Result<SearchOutcome> first = fixture.start("experts_down")->search(lastRange(*fixture.start("experts_down")));
  ASSERT_TRUE(first);
  std::vector<TuneRecord> all;
  for (const TuneRecord &record : fixture.records) // as a file gives them back
    all.push_back(*parseTuneRecord(printTuneRecord(record)));
  size_t choice = all.size() - 1;
  ASSERT_EQ(all[choice].kind, TuneRecord::Choice);

  auto resume = [&](const std::vector<TuneRecord> &earlier) {
    fixture.earlier = earlier;
    fixture.records.clear();
    std::unique_ptr<StageSearch> search = fixture.start("experts_down");
    Result<SearchOutcome> outcome = search->search(lastRange(*search));
    EXPECT_TRUE(outcome);
    return *outcome;
  };
  SearchOutcome again = resume(all);
  EXPECT_TRUE(again.known);
  EXPECT_TRUE(fixture.records.empty());
  EXPECT_EQ(candidateText(again.chosen), candidateText(first->chosen));
  EXPECT_NEAR(again.gain, first->gain, 1e-5);

  // Killed before the choice: nothing is measured again, but it is decided.
  SearchOutcome decided = resume({all.begin(), all.end() - 1});
  EXPECT_FALSE(decided.known);
  EXPECT_EQ(decided.tried, 0u);
  EXPECT_EQ(decided.reused, first->tried);
  EXPECT_EQ(fixture.records.size(), 1u);

  // Killed after five.
  SearchOutcome later = resume({all.begin(), all.begin() + 5});
  EXPECT_EQ(later.reused, 5u);
  EXPECT_GT(later.tried, 5u);
  for (const TuneRecord &record : fixture.records)
    for (size_t i = 0; i < 5; ++i)
      EXPECT_NE(questionOf(record, true), questionOf(all[i], true));

  // Beside another default, or predicted: no answer to this question.
  std::vector<TuneRecord> others = all;
  for (TuneRecord &record : others)
    record.standard = "panel { block_m = 1 } numeric fma";
  EXPECT_EQ(resume(others).reused, 0u);
  others = all;
  for (TuneRecord &record : others)
    record.predicted = true;
  EXPECT_EQ(resume(others).reused, 0u);
}

TEST_F(StageSearchRun, stops_when_its_budget_ends) {
  SearchFixture fixture(smallLayer("bf16"));
  fixture.search.expired = [] { return true; };
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->reached);
  EXPECT_FALSE(outcome->complete);
  EXPECT_TRUE(fixture.records.empty());

  // In the middle: what was measured is decided, and the rest follows later.
  int looks = 0;
  fixture.search.expired = [&] { return ++looks > 1; };
  Result<SearchOutcome> part = search->search(lastRange(*search));
  ASSERT_TRUE(part);
  EXPECT_TRUE(part->reached);
  EXPECT_FALSE(part->complete);
  EXPECT_EQ(choices(fixture.records).size(), 1u);
  size_t measured = fixture.records.size();
  fixture.search.expired = [] { return false; };
  Result<SearchOutcome> rest = search->search(lastRange(*search));
  ASSERT_TRUE(rest);
  EXPECT_TRUE(rest->complete);
  EXPECT_FALSE(rest->known);
  EXPECT_GE(rest->reused, measured - 1);
  EXPECT_GT(fixture.records.size(), measured);
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
}

TEST_F(StageSearchRun, ends_when_a_record_cannot_be_kept) {
  SearchFixture fixture(smallLayer("bf16"));
  fixture.search.remember = [](const TuneRecord &) -> Result<> { return Diagnostic::error("E-WRITE", "no space"); };
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, "E-WRITE");
}

// The rules of the proof with limits that nothing reaches, or that everything does.
TEST_F(StageSearchRun, keeps_the_default_unless_the_gain_is_large_enough) {
  SearchFixture fixture(smallLayer("bf16"));
  fixture.search.minimumGain = 1000;
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->changed);
  ASSERT_EQ(choices(fixture.records).size(), 1u);
  EXPECT_TRUE(choices(fixture.records)[0].keepsDefault());
  EXPECT_TRUE(choices(fixture.records)[0].times) << "with its proof";
}

TEST_F(StageSearchRun, believes_no_time_below_the_ceilings) {
  SearchFixture fixture(smallLayer("bf16", 64, 128), Isa::Avx2, "",
                        "schedule small\nstage experts_down avx2\n"
                        "  rows 1.. panel { block_k = 32, block_m = 1, panel_m = 48 } numeric fma\n");
  fixture.search.ceilings = {1e-3, 1e-3}; // whatever runs is faster than this machine
  RowClass rows = lastRange(*fixture.start("experts_down"));
  Result<SearchOutcome> outcome = fixture.start("experts_down")->search(rows);
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->changed);
  EXPECT_TRUE(outcome->unbelieved);
  // A probe that was disturbed is repeated first.
  fixture.search.probe = [] { return ProbeResult{1e6, 1e6}; };
  outcome = fixture.start("experts_down")->search(rows);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->changed);
  EXPECT_FALSE(outcome->unbelieved);
}

// A default of single rows: the search finds blocks, and proves them.
TEST_F(StageSearchRun, finds_what_a_slow_default_misses) {
  SearchFixture fixture(smallLayer("f32", 128, 128), Isa::Avx2, "",
                        "schedule small\nstage experts_gate_up avx2\n"
                        "  rows 1.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma\n");
  std::unique_ptr<StageSearch> search = fixture.start("experts_gate_up");
  RowClass rows = search->classes({64}).back();
  Result<SearchOutcome> outcome = search->search(rows);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->changed);
  EXPECT_GT(outcome->gain, 0.3);
  EXPECT_GT(outcome->gainLow, 0);
  EXPECT_GE(outcome->chosen.kernel.integers.at("block_m"), 2);
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
}

// A copy of the template under another name is as fast as the template, so pairs of one with the other decide, and a
// tie takes the one that changes less. The record has what a reader needs to decide again.
TEST_F(StageSearchRun, ranks_rivals_that_are_alike_in_pairs) {
  Overlay overlay;
  overlay.add("panel_copy", {});
  SearchFixture fixture(smallLayer("f32", 128, 128), Isa::Avx2, overlay.path,
                        "schedule small\nstage experts_gate_up avx2\n"
                        "  rows 1.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma\n");
  std::unique_ptr<StageSearch> search = fixture.start("experts_gate_up");
  RowClass rows = search->classes({64}).back();
  size_t duels = 0;
  for (int repeat = 0; repeat < 3 && !duels; ++repeat) { // a busy machine may tell equal ones apart
    fixture.records.clear();
    search = fixture.start("experts_gate_up");
    Result<SearchOutcome> outcome = search->search(rows);
    ASSERT_TRUE(outcome);
    ASSERT_TRUE(outcome->changed);
    ASSERT_EQ(choices(fixture.records).size(), 1u);
    TuneRecord choice = choices(fixture.records)[0];
    duels = choice.duels.size();
    EXPECT_LE(duels, 2u);
    auto simplicity = [&](const std::string &text) {
      auto entry = cpuCandidate(text, choice.rows, overlay.path);
      size_t order = 0;
      while (order < fixture.records.size() && fixture.records[order].candidate != text)
        ++order;
      return std::pair(entry ? countChanges(outcome->standard, *entry) : 999, order);
    };
    std::string leader = duels ? choice.duels[0].first : choice.candidate;
    for (const TuneDuel &duel : choice.duels) {
      EXPECT_EQ(duel.first, leader);
      EXPECT_EQ(duel.pairs, fixture.search.pairs);
      TuneTimes times;
      times.gain = duel.gain, times.gainLow = duel.gainLow, times.gainHigh = duel.gainHigh;
      if (challengerWins(times, simplicity(duel.second) < simplicity(leader)))
        leader = duel.second;
    }
    EXPECT_EQ(choice.candidate, leader);
    EXPECT_EQ(candidateText(outcome->chosen), leader);
    EXPECT_EQ(parseTuneRecord(printTuneRecord(choice))->duels.size(), duels);
  }
  EXPECT_GT(duels, 0u);
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
}

// The kernel leaves out the last step of depth, so it is faster than all others.
TEST_F(StageSearchRun, never_chooses_a_kernel_that_is_fast_and_wrong) {
  Overlay overlay;
  overlay.add("panel_fast", {{"%steps = arith.constant #k_steps", "%all = arith.constant #k_steps\n"
                                                                  "  %steps = arith.subi %all, %c1 : index"}});
  SearchFixture fixture(smallLayer("bf16", 64, 64), Isa::Avx2, overlay.path);
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_GE(outcome->wrong, 1u);
  EXPECT_EQ(outcome->failed, 0u);
  for (const TuneRecord &record : fixture.records) {
    bool planted = record.candidate.find("panel_fast") == 0;
    EXPECT_EQ(planted, record.result == TuneResult::Wrong) << record.candidate << " " << record.detail;
    if (planted) {
      EXPECT_EQ(record.kind, TuneRecord::Measurement);
      EXPECT_EQ(record.detail.find("blocks of "), 0u) << record.detail;
      EXPECT_NE(record.detail.find("row 0, column 0"), std::string::npos) << record.detail;
      EXPECT_FALSE(record.times);
      EXPECT_EQ(record.templateHash.size(), 64u);
    } else {
      EXPECT_EQ(record.templateHash, "") << record.candidate;
    }
  }
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
  // Repaired it is another kernel, of which the records say nothing.
  fixture.earlier = fixture.records;
  fixture.records.clear();
  overlay.add("panel_fast", {});
  search = fixture.start("experts_down");
  outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->wrong, 0u);
  bool measured = false;
  for (const TuneRecord &record : fixture.records)
    measured |= record.candidate.find("panel_fast") == 0 && record.kind == TuneRecord::Measurement &&
                record.result == TuneResult::Ok;
  EXPECT_TRUE(measured);
}

// Kernels that read far beyond their weights, never end, or write to their input: each costs its own record only.
TEST_F(StageSearchRun, survives_kernels_that_crash_hang_or_write_elsewhere) {
  const std::string loop = "%acc = scf.for %k = %c0 to %steps step %c1 iter_args(%c = %zero) -> (!acc) {";
  Overlay overlay;
  overlay.add("panel_crash", {{"%steps = arith.constant #k_steps", "%far = arith.constant 1073741824 : index\n"
                                                                   "  %steps = arith.addi %far, %c1 : index"}});
  overlay.add("panel_hang",
              {{loop, "%ever = arith.constant 1152921504606846976 : index\n"
                      "        %acc = scf.for %again = %c0 to %ever step %c1 iter_args(%d0 = %zero) -> "
                      "(!acc) {\n        %inner = scf.for %k = %c0 to %steps step %c1 iter_args(%c = %d0)"
                      " -> (!acc) {"},
               {"          scf.yield %d : !acc\n        }", "          scf.yield %d : !acc\n        }\n"
                                                            "        scf.yield %inner : !acc\n        }"}});
  overlay.add("panel_stray", {{"tile.epilogue %acc[%item, %n, %m] -> %out out_hint #out_hint : !acc, !O",
                               "tile.epilogue %acc[%item, %n, %m] -> %a : !acc, !A"}});
  SearchFixture fixture(smallLayer("f32", 64, 64), Isa::Avx2, overlay.path);
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_TRUE(outcome->complete);
  EXPECT_GE(outcome->failed, 2u);
  EXPECT_GE(outcome->stuck, 1u);
  EXPECT_EQ(outcome->wrong, 0u);
  EXPECT_GT(outcome->tried, 10u);
  std::set<std::string> seen;
  for (const TuneRecord &record : fixture.records) {
    std::string name = record.candidate.substr(0, record.candidate.find(' '));
    if (name.find("panel_") != 0)
      continue;
    seen.insert(name);
    EXPECT_EQ(record.kind, TuneRecord::Measurement) << "chosen: " << record.candidate;
    EXPECT_EQ(record.result, name == "panel_hang" ? TuneResult::Timeout : TuneResult::Failed) << record.candidate;
    const char *reason = name == "panel_hang"    ? "did not return within 1 s"
                         : name == "panel_stray" ? "ended with SIGSEGV, it wrote to its input"
                                                 : "ended with SIGSEGV";
    EXPECT_NE(record.detail.find(reason), std::string::npos) << name << ": " << record.detail;
    EXPECT_FALSE(record.times);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"panel_crash", "panel_hang", "panel_stray"}));
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
  // The same search again takes them from its records: no kernel runs a second time.
  fixture.earlier = fixture.records;
  fixture.records.clear();
  search = fixture.start("experts_down");
  Result<SearchOutcome> again = search->search(lastRange(*search));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->known);
  EXPECT_TRUE(fixture.records.empty());
}

// A template that does not become a kernel costs its own record, not the search.
TEST_F(StageSearchRun, records_what_cannot_be_built) {
  Overlay overlay;
  overlay.add("panel_broken", {{"scf.yield %d : !acc", "scf.yield %nothing : !acc"}});
  SearchFixture fixture(smallLayer("bf16", 64, 64), Isa::Avx2, overlay.path);
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  Result<SearchOutcome> outcome = search->search(lastRange(*search));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_GE(outcome->failed, 1u);
  EXPECT_GT(outcome->tried, 5u);
  EXPECT_EQ(count(fixture.records, TuneResult::Failed), outcome->failed);
  for (const TuneRecord &record : fixture.records)
    EXPECT_EQ(record.candidate.find("panel_broken") == 0, record.result == TuneResult::Failed) << changeOf(record);
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
}

// Ranges whose best kernels differ by less than the loss share one.
TEST_F(StageSearchRun, shares_kernels_where_that_costs_little) {
  SearchFixture fixture(smallLayer("f32", 128, 128), Isa::Avx2, "",
                        "schedule small\nstage experts_down avx2\n"
                        "  rows 1..12 panel { block_k = 4, block_m = 1, panel_m = 12 } numeric fma\n"
                        "  rows 13..24 panel { block_k = 4, block_m = 1, panel_m = 24 } numeric fma\n"
                        "  rows 25.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma\n");
  fixture.search.coverLoss = 0.25;
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  std::vector<SearchOutcome> outcomes;
  for (const RowClass &rows : search->classes({24, 36, 60})) {
    Result<SearchOutcome> outcome = search->search(rows);
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(outcome->changed);
    outcomes.push_back(*outcome);
  }
  ASSERT_EQ(outcomes.size(), 3u);
  auto kernels = [&] {
    std::set<std::string> texts;
    for (SearchOutcome outcome : outcomes) {
      outcome.chosen.kernel.integers["panel_m"] = 1;
      texts.insert(candidateText(outcome.chosen));
    }
    return texts.size();
  };
  size_t before = kernels();
  std::vector<double> gains;
  std::vector<SearchOutcome *> pointers;
  for (SearchOutcome &outcome : outcomes) {
    gains.push_back(outcome.gain);
    pointers.push_back(&outcome);
  }
  ASSERT_TRUE(search->cover(pointers));
  EXPECT_LE(kernels(), before);
  for (const SearchOutcome &outcome : outcomes) {
    EXPECT_TRUE(outcome.changed);
    EXPECT_GE(outcome.gain, fixture.search.minimumGain);
    EXPECT_GE(outcome.chosen.kernel.integers.at("panel_m"), outcome.chosen.lastRow < 0 ? 48 : outcome.chosen.lastRow);
    // The last choice of the range is what the outcome says.
    std::string last;
    for (const TuneRecord &record : choices(fixture.records))
      if (record.rows == TuneClass{outcome.standard.firstRow, outcome.standard.lastRow})
        last = record.candidate;
    EXPECT_EQ(last, candidateText(outcome.chosen));
  }
  EXPECT_EQ(fixture.problems(), std::vector<std::string>{});
  // Once more: nothing is left to do.
  size_t records = fixture.records.size();
  ASSERT_TRUE(search->cover(pointers));
  EXPECT_EQ(fixture.records.size(), records);
}

} // namespace
} // namespace moec
