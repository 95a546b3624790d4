// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The steps of the search from one entry.

#include "codegen/search/Candidates.h"
#include "tests/search/SearchFixture.h"

#include "codegen/schedule/CpuSchedule.h"

#include <set>

namespace moec {
namespace {

MatmulStage stageOf(moec_dtype type, int64_t k = 2048) {
  MatmulStage stage;
  stage.name = "up", stage.n = 768, stage.k = k, stage.panels = 24;
  stage.in = stage.weight = stage.result = type;
  return stage;
}

std::vector<ScheduleEntry> all(const MatmulStage &stage, Isa isa, const ScheduleEntry &from,
                               const CandidateSpace &space) {
  int64_t most = from.lastRow < 0 ? from.kernel.integers.at("panel_m") : from.lastRow;
  return neighbours(stage, isa, from, from.firstRow, most, space);
}

TEST(candidates, are_legal_each_once_and_not_the_default) {
  CandidateSpace space = candidateSpace("", false);
  EXPECT_EQ(space.names, (std::vector<std::string>{"panel", "panel_chunked"}));
  for (moec_dtype type : {MOEC_BF16, MOEC_F32})
    for (int64_t k : {64, 768, 2048, 14336})
      for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx}) {
        MatmulStage stage = stageOf(type, k);
        StageSchedule schedule = cpuSchedule(stage, isa);
        for (const ScheduleEntry &from : schedule.entries) {
          std::vector<ScheduleEntry> found = all(stage, schedule.isa, from, space);
          std::set<std::string> texts = {candidateText(from)};
          for (const ScheduleEntry &entry : found) {
            Result<> legal = checkEntry(stage, schedule.isa, entry);
            EXPECT_TRUE(legal) << legal.error().message;
            EXPECT_TRUE(texts.insert(candidateText(entry)).second) << candidateText(entry);
            EXPECT_EQ(entry.numeric == "amx", from.numeric == "amx") << candidateText(entry);
            EXPECT_EQ(entry.firstRow, from.firstRow);
            EXPECT_EQ(entry.lastRow, from.lastRow);
            int64_t most = from.lastRow < 0 ? from.kernel.integers.at("panel_m") : from.lastRow;
            EXPECT_GE(entry.kernel.integers.at("panel_m"), most);
          }
          EXPECT_GT(found.size(), 4u);
          std::vector<ScheduleEntry> again = all(stage, schedule.isa, from, space);
          ASSERT_EQ(again.size(), found.size());
          for (size_t i = 0; i < found.size(); ++i)
            EXPECT_EQ(candidateText(again[i]), candidateText(found[i]));
        }
      }
}

// Where nothing is prefetched, the parameters of prefetching are not in the code.
TEST(candidates, without_prefetches_do_not_differ_in_how_they_are_spread) {
  CandidateSpace space = candidateSpace("", false);
  MatmulStage stage = stageOf(MOEC_BF16);
  ScheduleEntry from = cpuSchedule(stage, Isa::Avx512Bf16).entries.front();
  for (const char *hint : {"none", "t1"}) {
    from.kernel.words["hint"] = hint;
    int spread = 0;
    for (const ScheduleEntry &entry : all(stage, Isa::Avx512Bf16, from, space)) {
      bool other = false;
      for (const char *name : {"prefetch_block", "streams", "share"})
        other |= entry.kernel.integers.at(name) != from.kernel.integers.at(name);
      EXPECT_FALSE(other && entry.kernel.words.at("hint") == "none") << candidateText(entry);
      spread += other;
    }
    EXPECT_EQ(spread > 0, hint == llvm::StringRef("t1"));
  }
}

TEST(candidates, changes_are_counted_without_what_follows_from_them) {
  auto entry = [](const std::string &text) { return *cpuCandidate(text, {1, 12}); };
  ScheduleEntry from = entry("panel { block_k = 32, block_m = 12, panel_m = 12 } numeric fma");
  EXPECT_EQ(countChanges(from, from), 0u);
  EXPECT_EQ(countChanges(from, entry("panel { block_k = 32, block_m = 5, panel_m = 15 } numeric fma")), 1u);
  EXPECT_EQ(countChanges(from, entry("panel { block_k = 32, block_m = 5, panel_m = 15, hint = nta } numeric dot")), 3u);
}

TEST(candidates, of_an_overlay_are_among_them) {
  Overlay overlay;
  overlay.add("panel_fast", {});
  CandidateSpace space = candidateSpace(overlay.path, false);
  MatmulStage stage = stageOf(MOEC_BF16);
  StageSchedule schedule = cpuSchedule(stage, Isa::Avx2);
  size_t own = 0;
  for (const ScheduleEntry &entry : all(stage, Isa::Avx2, schedule.entries.back(), space)) {
    own += entry.kernel.templateName == "panel_fast";
    EXPECT_TRUE(checkEntry(stage, Isa::Avx2, entry, overlay.path));
  }
  EXPECT_EQ(own, 1u); // with the default's values: one step
}

TEST(candidates, change_bits_only_if_that_is_allowed) {
  MatmulStage stage = stageOf(MOEC_BF16);
  StageSchedule schedule = cpuSchedule(stage, Isa::Amx);
  auto numerics = [&](bool allowed) {
    std::set<std::string> found;
    for (const ScheduleEntry &entry : all(stage, Isa::Amx, schedule.entries.front(), candidateSpace("", allowed)))
      found.insert(entry.numeric);
    return found;
  };
  EXPECT_EQ(numerics(false), std::set<std::string>{"amx"});
  EXPECT_EQ(numerics(true), (std::set<std::string>{"amx", "dot", "fma"}));
}

// Steps from the open end never make the largest block grow, however many there are.
TEST(candidates, of_candidates_pack_no_more_rows) {
  MatmulStage stage = stageOf(MOEC_BF16);
  StageSchedule schedule = cpuSchedule(stage, Isa::Avx512);
  const ScheduleEntry &open = schedule.entries.back();
  CandidateSpace space = candidateSpace("", false);
  int64_t most = open.kernel.integers.at("panel_m");
  for (const ScheduleEntry &near : neighbours(stage, Isa::Avx512, open, 130, most, space))
    for (const ScheduleEntry &far : neighbours(stage, Isa::Avx512, near, 130, most, space)) {
      EXPECT_GE(far.kernel.integers.at("panel_m"), most);
      EXPECT_LT(far.kernel.integers.at("panel_m"),
                most + far.kernel.integers.at("block_m") + near.kernel.integers.at("block_m"));
    }
}

} // namespace
} // namespace moec
