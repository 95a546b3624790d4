// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Schedule text: what is printed reads back to the same values, and every refusal is asserted whole.

#include "codegen/schedule/CpuSchedule.h"
#include "codegen/schedule/Schedule.h"
#include "tests/schedule/MatmulStages.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

bool sameEntry(const ScheduleEntry &a, const ScheduleEntry &b) {
  return a.firstRow == b.firstRow && a.lastRow == b.lastRow && a.numeric == b.numeric &&
         a.kernel.templateName == b.kernel.templateName && a.kernel.integers == b.kernel.integers &&
         a.kernel.words == b.kernel.words;
}

Schedule read(const std::string &text) {
  Result<Schedule> schedule = parseSchedule(text, "t.txt");
  EXPECT_TRUE(schedule) << schedule.error().placedMessage();
  return schedule ? *schedule : Schedule();
}

std::string refusal(const std::string &text) {
  Result<Schedule> schedule = parseSchedule(text, "t.txt");
  EXPECT_FALSE(schedule);
  if (schedule)
    return "";
  EXPECT_EQ(schedule.error().code, "E-SCHEDULE");
  return schedule.error().placedMessage();
}

// The refusal of a file whose one entry is `entry`; it starts at line 3, column 3.
std::string entryRefusal(const std::string &entry) { return refusal("schedule l\nstage s avx2\n  " + entry); }

TEST(text, example_reads_every_field) {
  Schedule schedule = read("# by hand\n"
                           "schedule tiny\n"
                           "stage ffn_up amx   # tiles\n"
                           "  rows 1..4  panel { block_m = 4, panel_m = 8, hint = t0, a_hint = nta } numeric amx\n"
                           "  rows 5..   panel_chunked { chunk = 8 } numeric fma\n"
                           "stage ffn_up avx2 rows 1.. panel {} numeric fma\n");
  EXPECT_EQ(schedule.layer, "tiny");
  ASSERT_EQ(schedule.stages.size(), 2u);
  const StageSchedule &amx = schedule.stages[0];
  EXPECT_EQ(amx.stage, "ffn_up");
  EXPECT_EQ(amx.isa, Isa::Amx);
  ASSERT_EQ(amx.entries.size(), 2u);
  EXPECT_EQ(amx.entries[0].firstRow, 1);
  EXPECT_EQ(amx.entries[0].lastRow, 4);
  EXPECT_EQ(amx.entries[0].numeric, "amx");
  EXPECT_EQ(amx.entries[0].kernel.templateName, "panel");
  EXPECT_EQ(amx.entries[0].kernel.integers.at("block_m"), 4);
  EXPECT_EQ(amx.entries[0].kernel.integers.at("panel_m"), 8);
  EXPECT_EQ(amx.entries[0].kernel.words,
            (std::map<std::string, std::string>{{"hint", "t0"}, {"a_hint", "nta"}, {"out_hint", "none"}}));
  EXPECT_EQ(amx.entries[1].firstRow, 5);
  EXPECT_EQ(amx.entries[1].lastRow, -1);
  EXPECT_EQ(amx.entries[1].kernel.templateName, "panel_chunked");
  EXPECT_EQ(schedule.find("ffn_up", Isa::Avx2), &schedule.stages[1]);
  EXPECT_EQ(schedule.find("ffn_up", Isa::Avx512), nullptr);
  EXPECT_EQ(schedule.find("ffn", Isa::Avx2), nullptr);
}

TEST(text, left_out_parameters_get_the_defaults_of_the_template) {
  Schedule schedule = read("schedule l stage s avx2 rows 1.. panel { streams = 2 } numeric fma");
  EXPECT_EQ(printSchedule(schedule),
            "schedule l\n"
            "stage s avx2\n"
            "  rows 1.. panel { block_k = 32, block_m = 32, heights = 1, panel_m = 32, prefetch_block = 4, "
            "share = 1, streams = 2, tiles = 2, a_hint = none, hint = t1, out_hint = none } numeric fma\n");
}

TEST(text, print_is_aligned_and_complete) {
  MatmulStage facts = matmulStage("ffn_up", 256, 64, 2, true, true);
  Schedule schedule{"tiny", {cpuSchedule(facts, Isa::Avx512)}};
  schedule.stages[0].entries.erase(schedule.stages[0].entries.begin() + 1, schedule.stages[0].entries.end() - 1);
  EXPECT_EQ(printSchedule(schedule),
            "schedule tiny\n"
            "stage ffn_up avx512\n"
            "  rows 1..1  panel { block_k = 32, block_m = 1, heights = 1, panel_m = 1, prefetch_block = 2, "
            "share = 1, streams = 1, tiles = "
            "1, a_hint = none, hint = none, out_hint = none } numeric fma\n"
            "  rows 122.. panel { block_k = 32, block_m = 12, heights = 2, panel_m = 132, prefetch_block = "
            "2, share = 1, streams = 1, tiles "
            "= 2, a_hint = none, hint = t1, out_hint = none } numeric fma\n");
}

TEST(text, print_parse_round_trip) {
  Schedule schedule{"tiny_2", {}};
  for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx})
    for (int64_t k : {1, 100, 2048, 7168}) {
      MatmulStage facts = matmulStage("s_" + std::to_string(k), 300, k, 1, true, true);
      schedule.stages.push_back(cpuSchedule(facts, isa));
    }
  std::string text = printSchedule(schedule);
  Schedule back = read(text);
  EXPECT_EQ(printSchedule(back), text);
  EXPECT_EQ(back.layer, schedule.layer);
  ASSERT_EQ(back.stages.size(), schedule.stages.size());
  for (size_t i = 0; i < back.stages.size(); ++i) {
    EXPECT_EQ(back.stages[i].stage, schedule.stages[i].stage);
    EXPECT_EQ(back.stages[i].isa, schedule.stages[i].isa);
    ASSERT_EQ(back.stages[i].entries.size(), schedule.stages[i].entries.size());
    for (size_t j = 0; j < back.stages[i].entries.size(); ++j)
      EXPECT_TRUE(sameEntry(back.stages[i].entries[j], schedule.stages[i].entries[j])) << i << " " << j;
  }
}

TEST(text, entry_for_rows) {
  StageSchedule stage = read("schedule l stage s avx2 rows 1..2 panel {} numeric fma rows 3..3 panel {} numeric fma "
                             "rows 4.. panel {} numeric fma")
                            .stages[0];
  EXPECT_EQ(stage.entryFor(0), 3u);
  EXPECT_EQ(stage.entryFor(1), 0u);
  EXPECT_EQ(stage.entryFor(2), 0u);
  EXPECT_EQ(stage.entryFor(3), 1u);
  EXPECT_EQ(stage.entryFor(4), 2u);
  EXPECT_EQ(stage.entryFor(1000000), 2u);
}

TEST(text, refuses_a_wrong_head) {
  EXPECT_EQ(refusal(""), "t.txt:1:1: found the end of the file, expected 'schedule' at the start of a schedule");
  EXPECT_EQ(refusal("# only a comment"),
            "t.txt:1:17: found the end of the file, expected 'schedule' at the start of a schedule");
  EXPECT_EQ(refusal("schedule Tiny"), "t.txt:1:10: found 'Tiny', expected the name of the layer, [a-z][a-z0-9_]{0,62}");
  EXPECT_EQ(refusal("schedule " + std::string(64, 'a')),
            "t.txt:1:10: found '" + std::string(32, 'a') +
                "...', expected the name of the layer, [a-z][a-z0-9_]{0,62}");
  EXPECT_EQ(refusal("schedule l\nlayer"), "t.txt:2:1: found 'layer', expected 'stage', 'front' or the end of the file");
  EXPECT_EQ(refusal("schedule l\n\n stage \xff"),
            "t.txt:3:8: found '\\xff', expected the name of a stage, [a-z][a-z0-9_]{0,62}");
  EXPECT_EQ(
      refusal("schedule l\nstage s sse9"),
      "t.txt:2:9: found 'sse9', expected an instruction set, baseline, avx2, avx512, avx512_bf16 or amx, or a CUDA "
      "architecture, sm_80 or sm_90a");
}

TEST(text, refuses_wrong_stages) {
  EXPECT_EQ(refusal("schedule l\nstage s avx2\nstage t avx2"), "t.txt:3:1: found 'stage', expected 'rows'");
  EXPECT_EQ(refusal("schedule l\nstage s avx2\n rows 1..4 panel {} numeric fma"),
            "t.txt:3:32: found the end of the file, expected 'rows': the last range of a stage has an open end, as in "
            "'rows 5..'");
  std::string stage = "stage s avx2 rows 1.. panel {} numeric fma\n";
  EXPECT_EQ(refusal("schedule l\n" + stage + stage),
            "t.txt:3:1: found a second schedule of stage 's' for avx2, expected one");
  EXPECT_EQ(refusal("schedule l\n" + stage + "rows 2.. panel {} numeric fma"),
            "t.txt:3:1: found 'rows', expected 'stage', 'front' or the end of the file");
}

TEST(text, refuses_wrong_ranges) {
  EXPECT_EQ(entryRefusal("rows x"), "t.txt:3:8: found 'x', expected the first row, an integer in 1..1000000");
  EXPECT_EQ(entryRefusal("rows 0.."), "t.txt:3:8: found '0', expected the first row, an integer in 1..1000000");
  EXPECT_EQ(entryRefusal("rows 2.."), "t.txt:3:8: found first row 2, expected 1: ranges start at row 1");
  EXPECT_EQ(entryRefusal("rows 1 panel"), "t.txt:3:10: found 'panel', expected '..' after the first row");
  EXPECT_EQ(entryRefusal("rows 1..4 panel {} numeric fma\nrows 6.. panel {} numeric fma"),
            "t.txt:4:6: found first row 6, expected 5: ranges follow each other without a gap");
  EXPECT_EQ(entryRefusal("rows 1..4 panel {} numeric fma\nrows 5..3 panel {} numeric fma"),
            "t.txt:4:9: found last row 3, expected at least the first row, 5");
  EXPECT_EQ(entryRefusal("rows 1..99999999999999999999 panel"),
            "t.txt:3:11: found '99999999999999999999', expected the last row, an integer in 1..1000000");
}

TEST(text, refuses_wrong_kernels) {
  EXPECT_EQ(entryRefusal("rows 1.. ../panel {}"),
            "t.txt:3:12: found '..', expected the name of a kernel template, [a-z][a-z0-9_]{0,62}");
  std::string listed = entryRefusal("rows 1.. panels {}");
  EXPECT_EQ(listed.find("t.txt:3:12: found template 'panels', expected one of: panel, panel_chunked"), 0u) << listed;
  EXPECT_EQ(entryRefusal("rows 1.. panel numeric fma"),
            "t.txt:3:18: found 'numeric', expected '{' before the parameters");
  EXPECT_EQ(entryRefusal("rows 1.. panel {} fma"), "t.txt:3:21: found 'fma', expected 'numeric' after the parameters");
  EXPECT_EQ(entryRefusal("rows 1.. panel {} numeric bf16"), "t.txt:3:29: found 'bf16', expected 'amx', 'dot' or 'fma'");
}

TEST(text, refuses_wrong_parameters) {
  const std::string known =
      "block_m, panel_m, block_k, prefetch_block, streams, share, heights, tiles, hint, a_hint, out_hint";
  EXPECT_EQ(entryRefusal("rows 1.. panel { tile = 3 }"),
            "t.txt:3:20: found parameter 'tile', expected one of " + known);
  EXPECT_EQ(entryRefusal("rows 1.. panel { chunk = 16 }"),
            "t.txt:3:20: found parameter 'chunk', expected one of " + known);
  EXPECT_EQ(entryRefusal("rows 1.. panel { k_steps = 3 }"),
            "t.txt:3:20: found 'k_steps', which follows from the stage, expected one of " + known);
  EXPECT_EQ(entryRefusal("rows 1.. panel { a_access = 3 }"),
            "t.txt:3:20: found 'a_access', which follows from the stage, expected one of " + known);
  EXPECT_EQ(entryRefusal("rows 1.. panel { weight = f32 }"),
            "t.txt:3:20: found 'weight', which follows from the stage, expected one of " + known);
  EXPECT_EQ(entryRefusal("rows 1.. panel { block_m 4 }"), "t.txt:3:28: found '4', expected '=' after a parameter");
  EXPECT_EQ(entryRefusal("rows 1.. panel { block_m = t1 }"),
            "t.txt:3:30: found 't1', expected the value of block_m, an integer in 1..1000000");
  EXPECT_EQ(entryRefusal("rows 1.. panel { block_m = 1000001 }"),
            "t.txt:3:30: found '1000001', expected the value of block_m, an integer in 1..1000000");
  EXPECT_EQ(entryRefusal("rows 1.. panel { block_m = 4, block_m = 4 }"),
            "t.txt:3:33: found 'block_m' a second time, expected it once");
  EXPECT_EQ(entryRefusal("rows 1.. panel { hint = t2 }"),
            "t.txt:3:27: found 't2', expected the value of hint: none, t0, t1 or nta");
  EXPECT_EQ(entryRefusal("rows 1.. panel { hint = t1> }"),
            "t.txt:3:29: found '>', expected '}' or ',' after a parameter");
  EXPECT_EQ(entryRefusal("rows 1.. panel { block_m = 4, }"),
            "t.txt:3:33: found '}', expected a parameter, [a-z][a-z0-9_]{0,62}");
}

TEST(text, refuses_sizes) {
  EXPECT_EQ(refusal(std::string(maxScheduleBytes + 1, ' ')),
            "t.txt:1:1: found a file of 1048577 bytes, expected at most 1048576");
  std::string text = "schedule l";
  for (size_t i = 0; i <= maxScheduleStages; ++i)
    text += "\nstage s" + std::to_string(i) + " avx2 rows 1.. panel {} numeric fma";
  EXPECT_EQ(refusal(text), "t.txt:258:1: found more than 256 stages");
  text = "schedule l stage s avx2";
  for (size_t i = 1; i <= maxScheduleEntries + 1; ++i)
    text += "\nrows " + std::to_string(i) + ".." + std::to_string(i) + " panel {} numeric fma";
  EXPECT_EQ(refusal(text), "t.txt:66:1: found more than 64 row ranges in a stage");
}

} // namespace
} // namespace moec
