// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Set covers of small matrices, by hand, and random ones by their properties; the rule that comes out is legal.

#include "codegen/tune/TuneCover.h"
#include "codegen/schedule/CpuSchedule.h"
#include "codegen/schedule/CudaSchedule.h"
#include "tests/schedule/MatmulStages.h"

#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace moec {
namespace {

constexpr std::nullopt_t x = std::nullopt;
constexpr size_t none = TuneCover::none;
using Numbers = std::vector<size_t>;

TEST(cover, one_class_takes_its_fastest) {
  TuneCover cover = coverClasses({{5.0, 3.0, 4.0}}, 0.02);
  EXPECT_EQ(cover.ofClass, Numbers({1}));
  EXPECT_EQ(cover.candidates, Numbers({1}));
}

TEST(cover, nothing_in_nothing_out) {
  EXPECT_TRUE(coverClasses({}, 0.02).ofClass.empty());
  EXPECT_EQ(coverClasses({{}, {x, x}}, 0.02).ofClass, Numbers({none, none}));
  EXPECT_TRUE(coverClasses({{}, {x, x}}, 0.02).candidates.empty());
}

TEST(cover, a_loss_saves_candidates) {
  // the middle one is at most 2 % slower everywhere
  TimeMatrix times = {{100.0, 101.0, 200.0}, {100.0, 100.0, 100.0}, {200.0, 102.0, 100.0}};
  EXPECT_EQ(coverClasses(times, 0.02).ofClass, Numbers({1, 1, 1}));
  EXPECT_EQ(coverClasses(times, 0.015).candidates, Numbers({0, 2}));
  EXPECT_EQ(coverClasses(times, 0).candidates, Numbers({0, 2})) << "of equal counts the lower sum and number";
  EXPECT_EQ(coverClasses(times, 0).ofClass, Numbers({0, 0, 2})) << "a tie goes to the candidate of the class before";
  EXPECT_EQ(coverClasses(times, -1).ofClass, coverClasses(times, 0).ofClass);
  EXPECT_EQ(coverClasses(times, std::numeric_limits<double>::quiet_NaN()).ofClass, coverClasses(times, 0).ofClass);
}

TEST(cover, exact_ties_go_to_the_lower_number) {
  TimeMatrix times = {{7.0, 7.0, 7.0}, {7.0, 7.0, 7.0}};
  EXPECT_EQ(coverClasses(times, 0).ofClass, Numbers({0, 0}));
  EXPECT_EQ(coverClasses({{9.0, 7.0, 7.0}, {7.0, 9.0, 7.0}}, 0).ofClass, Numbers({2, 2}));
}

TEST(cover, a_tie_goes_to_the_candidate_of_the_class_before) {
  EXPECT_EQ(coverClasses({{7.0, 9.0}, {9.0, 7.0}, {7.0, 7.0}, {7.0, 9.0}}, 0).ofClass, Numbers({0, 1, 1, 0}));
}

TEST(cover, missing_cells_are_not_served) {
  TimeMatrix times = {{1.0, x}, {x, 2.0}, {x, x}, {3.0}};
  TuneCover cover = coverClasses(times, 0.5);
  EXPECT_EQ(cover.ofClass, Numbers({0, 1, none, 0}));
  EXPECT_EQ(cover.candidates, Numbers({0, 1}));
  double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(coverClasses({{-1.0, 0.0, inf, nan}, {nan, 5.0, x, x}}, 0.1).ofClass, Numbers({none, 1}));
}

TEST(cover, a_first_choice_that_became_needless_is_dropped) {
  // 0 serves four classes and comes first; 1 and 2 serve three each and together all six
  TimeMatrix times = {{1.0, 1.0, x}, {1.0, 1.0, x}, {x, 1.0, x}, {1.0, x, 1.0}, {1.0, x, 1.0}, {x, x, 1.0}};
  TuneCover cover = coverClasses(times, 0);
  EXPECT_EQ(cover.candidates, Numbers({1, 2}));
  EXPECT_EQ(cover.ofClass, Numbers({1, 1, 1, 2, 2, 2}));
}

TEST(cover, random_matrices_keep_the_loss) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    size_t classes = 1 + random() % 12, candidates = 1 + random() % 10;
    double loss = double(random() % 4) * 0.02;
    TimeMatrix times(classes);
    for (auto &row : times)
      for (size_t j = 0; j < candidates; ++j)
        row.push_back(random() % 4 ? std::optional<double>(double(95 + random() % 10)) : std::nullopt);
    TuneCover cover = coverClasses(times, loss);
    EXPECT_EQ(coverClasses(times, loss).ofClass, cover.ofClass);
    std::vector<bool> used(candidates);
    for (size_t c = 0; c < classes; ++c) {
      double best = 0;
      for (const auto &t : times[c])
        if (t && (best == 0 || *t < best))
          best = *t;
      ASSERT_EQ(cover.ofClass[c] == none, best == 0);
      if (best == 0)
        continue;
      ASSERT_LE(*times[c][cover.ofClass[c]], best * (1 + loss));
      used[cover.ofClass[c]] = true;
    }
    for (size_t j = 0; j < candidates; ++j)
      EXPECT_EQ(used[j], std::count(cover.candidates.begin(), cover.candidates.end(), j) == 1);
  }
}

TEST(cover, rule_merges_classes_and_is_legal) {
  MatmulStage facts = matmulStage("up", 768, 2048, 1, true, true);
  StageSchedule stage = cpuSchedule(facts, Isa::Avx512);
  std::vector<TuneClass> classes = {{1, 4}, {5, 8}, {9, 16}, {17, -1}};
  auto kernel = [&](int64_t block, int64_t panel) {
    ScheduleEntry entry = stage.entries.back();
    entry.kernel.integers["block_m"] = block;
    entry.kernel.integers["panel_m"] = panel;
    return entry;
  };
  std::vector<ScheduleEntry> kernels = {kernel(4, 8), kernel(8, 64)},
                             standards = {kernel(4, 4), kernel(8, 8), kernel(8, 16), kernel(8, 128)};
  TuneCover cover = coverClasses({{1.0, 2.0}, {1.0, 1.5}, {x, 1.0}, {x, 1.0}}, 0.02);
  auto entries = coverEntries(cover, classes, kernels, standards);
  ASSERT_TRUE(entries);
  stage.entries = *entries;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(rowRangeText((*entries)[0]), "1..8");
  EXPECT_EQ((*entries)[0].kernel.integers.at("panel_m"), 8);
  EXPECT_EQ(rowRangeText((*entries)[1]), "9..");
  Result<> legal = checkStage(facts, stage);
  EXPECT_TRUE(legal) << legal.error().message;

  // a class that was not measured keeps its default
  entries = coverEntries(coverClasses({{1.0, 2.0}, {x, x}, {x, 1.0}, {x, 1.0}}, 0), classes, kernels, standards);
  ASSERT_TRUE(entries);
  stage.entries = *entries;
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ(rowRangeText((*entries)[1]), "5..8");
  EXPECT_EQ((*entries)[1].kernel.integers.at("panel_m"), 8);
  legal = checkStage(facts, stage);
  EXPECT_TRUE(legal) << legal.error().message;
}

TEST(cover, rule_for_tokens) {
  MatmulStage facts = matmulStage("up", 768, 2048, 1, true, true);
  CudaStage stage = cudaSchedule(facts, CudaArch::Sm80);
  std::vector<CudaEntry> kernels(2, stage.entries.back());
  kernels[1].kernel.integers["stages"] = kernels[0].kernel.integers["stages"] == 2 ? 3 : 2;
  std::vector<TuneClass> classes = {{1, 16}, {17, 64}, {65, -1}};
  std::vector<CudaEntry> standards(3, kernels[0]);
  auto entries = coverEntries(coverClasses({{2.0, 1.0}, {2.0, 1.0}, {1.0, 2.0}}, 0), classes, kernels, standards);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(tokenRangeText((*entries)[0]), "1..64");
  EXPECT_EQ(tokenRangeText((*entries)[1]), "65..");
  stage.entries = *entries;
  Result<> legal = checkStage(facts, stage);
  EXPECT_TRUE(legal) << legal.error().message;
}

TEST(cover, sizes_that_do_not_fit_are_an_error) {
  TuneCover cover = coverClasses({{2.0, 1.0}}, 0);
  std::vector<ScheduleEntry> kernels(1);
  Result<std::vector<ScheduleEntry>> entries = coverEntries(cover, {{1, -1}}, kernels, kernels);
  ASSERT_FALSE(entries);
  EXPECT_EQ(entries.error().message, "a cover of 1 classes for 1 classes, 1 candidates and 1 default entries");
}

} // namespace
} // namespace moec
