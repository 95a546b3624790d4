// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which numbers of rows calls bring to a stage.

#include "codegen/search/RowClasses.h"
#include "tests/search/SearchFixture.h"

#include "codegen/schedule/CpuSchedule.h"
#include "runtime/layer/items.h"

#include <numeric>

namespace moec {
namespace {

MatmulStage routed(int64_t groups, int64_t choices) {
  MatmulStage stage;
  stage.name = "up", stage.n = 768, stage.k = 2048, stage.panels = 24;
  stage.in = stage.weight = stage.result = MOEC_BF16;
  stage.groups = groups, stage.rowsPerToken = choices, stage.mode.routed = true;
  return stage;
}

double sum(const std::map<int64_t, double> &blocks, bool ofRows) {
  double total = 0;
  for (auto [rows, count] : blocks)
    total += ofRows ? count * double(rows) : count;
  return total;
}

TEST(row_classes, a_group_has_a_binomial_number_of_rows) {
  MatmulStage stage = routed(128, 8);
  // One token: 8 experts with one row each.
  std::map<int64_t, double> one = blockRows(stage, 1, 132, 12);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_NEAR(one.at(1), 8, 1e-9);
  // 32 tokens: P(0 rows) = (1 - 1/16)^32 = 0.1268; P(2) / P(1) = 31/2 * (1/15).
  std::map<int64_t, double> few = blockRows(stage, 32, 132, 12);
  EXPECT_EQ(few.begin()->first, 1);
  EXPECT_EQ(few.rbegin()->first, 5); // 2 + 2 * 1.37, rounded up
  EXPECT_NEAR(sum(few, false), 128 * (1 - 0.126779), 0.01);
  EXPECT_NEAR(few.at(2) / few.at(1), 31.0 / 30, 1e-9);
  // 2048 tokens: 128 rows on average, deviation 11: the middle 95 %, and nothing else.
  std::map<int64_t, double> many = blockRows(stage, 2048, 1000, 1);
  EXPECT_EQ(many.begin()->first, 106);
  EXPECT_EQ(many.rbegin()->first, 150);
  EXPECT_NEAR(sum(many, true) / sum(many, false), 128, 0.2);
  EXPECT_NEAR(sum(many, true), 2048 * 8, 20);
}

TEST(row_classes, a_stage_without_a_route_has_all_rows_in_one_group) {
  MatmulStage stage = routed(1, 1);
  stage.mode.routed = false;
  EXPECT_EQ(blockRows(stage, 57, 60, 12), (std::map<int64_t, double>{{57, 1}}));
  EXPECT_TRUE(blockRows(stage, 0, 60, 12).empty());
  stage.mode.routed = true; // one expert that every token chooses
  EXPECT_EQ(blockRows(stage, 57, 60, 12), (std::map<int64_t, double>{{57, 1}}));
}

// The runtime's own cutting is the measure.
TEST(row_classes, large_groups_are_cut_as_the_runtime_cuts_them) {
  MatmulStage stage = routed(1, 1);
  for (auto [maxRows, multiple] : {std::pair<int64_t, int64_t>{60, 12}, {132, 12}, {96, 3}, {16, 1}, {256, 32}})
    for (int64_t tokens = 1; tokens < 700; tokens += 7) {
      moec_isa_variants isa = {};
      isa.num_variants = 1, isa.max_rows = uint32_t(maxRows), isa.row_multiple = uint32_t(multiple);
      std::vector<uint8_t> cover(size_t(maxRows), 0);
      std::vector<moec_item> items(1024);
      moec_item_list list = {};
      list.items = items.data();
      int32_t offsets[] = {0, int32_t(tokens)};
      moec_items_build(&isa, cover.data(), offsets, 1, 24, &list);
      std::map<int64_t, double> expected;
      for (int64_t i = 0; i < list.num_items; ++i)
        expected[items[size_t(i)].rows] += 1;
      EXPECT_EQ(blockRows(stage, tokens, maxRows, multiple), expected) << tokens << " by " << maxRows;
    }
}

TEST(row_classes, shares_sum_to_1_and_ranges_ascend) {
  for (const MatmulStage &stage : {routed(128, 8), routed(8, 2), routed(1, 1)})
    for (Isa isa : {Isa::Avx2, Isa::Avx512, Isa::Amx}) {
      StageSchedule schedule = cpuSchedule(stage, isa);
      std::vector<RowClass> classes = rowClasses(stage, schedule, {1, 8, 32, 128, 512});
      ASSERT_FALSE(classes.empty());
      double total = 0;
      for (size_t c = 0; c < classes.size(); ++c) {
        total += classes[c].weight;
        const ScheduleEntry &entry = schedule.entries[classes[c].entry];
        EXPECT_EQ(schedule.entryFor(classes[c].rows), classes[c].entry);
        EXPECT_LT(c ? classes[c - 1].entry : size_t(0), classes[c].entry + (c == 0));
        // Every number of rows of the range: one at which only a wrong kernel is wrong must be among them.
        int64_t last = entry.lastRow < 0 ? entry.kernel.integers.at("panel_m") : entry.lastRow;
        std::vector<int64_t> all(size_t(last - entry.firstRow + 1));
        std::iota(all.begin(), all.end(), entry.firstRow);
        EXPECT_EQ(classes[c].checked, all);
      }
      EXPECT_NEAR(total, 1, 1e-9);
    }
}

TEST(row_classes, only_ranges_that_the_calls_meet) {
  MatmulStage stage = routed(128, 8);
  StageSchedule schedule = cpuSchedule(stage, Isa::Avx512);
  std::vector<RowClass> one = rowClasses(stage, schedule, {1});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].rows, 1);
  EXPECT_EQ(one[0].weight, 1);
  // The ranges follow the cover of the plan: all entries met by many calls, each once.
  std::vector<int64_t> tokens(600);
  std::iota(tokens.begin(), tokens.end(), 1);
  stage.mode.routed = false;
  EXPECT_EQ(rowClasses(stage, schedule, tokens).size(), schedule.entries.size());
}

TEST(row_classes, choices_are_shared_out) {
  auto total = [](const std::vector<double> &p) { return std::accumulate(p.begin(), p.end(), 0.0); };
  EXPECT_EQ(choiceProbabilities({}, 4, 2), (std::vector<double>{0.5, 0.5, 0.5, 0.5}));
  std::vector<double> zipf = choiceProbabilities({"zipf"}, 128, 8);
  EXPECT_NEAR(total(zipf), 8, 1e-9);
  EXPECT_EQ(zipf[0], 1); // 8 / 5.4 would be more than once per token
  EXPECT_NEAR(zipf[10] / zipf[21], 2, 1e-9);
  // Expert 0 takes every token, and the second choice is shared by the others as they were counted.
  std::vector<double> counted = choiceProbabilities({"histogram:1", {90, 6, 3, 1}}, 4, 2);
  EXPECT_NEAR(total(counted), 2, 1e-9);
  EXPECT_EQ(counted[0], 1);
  EXPECT_NEAR(counted[1], 0.6, 1e-9);
  EXPECT_EQ(choiceProbabilities({"histogram:1", {1, 2, 3}}, 4, 2), choiceProbabilities({}, 4, 2));
  EXPECT_EQ(choiceProbabilities({"histogram:1", {5, 0, 0, 0}}, 4, 2)[0], 1);
  EXPECT_EQ(choiceProbabilities({}, 2, 4), (std::vector<double>{1, 1}));
}

TEST(row_classes, a_skew_brings_longer_and_shorter_groups) {
  MatmulStage stage = routed(128, 8);
  std::map<int64_t, double> even = blockRows(stage, 128, 132, 1), skewed = blockRows(stage, 128, 132, 1, {"zipf"});
  EXPECT_LT(even.rbegin()->first, 20);
  EXPECT_EQ(skewed.rbegin()->first, 128);
  EXPECT_NEAR(sum(skewed, true), 1024, 20);
}

} // namespace
} // namespace moec
