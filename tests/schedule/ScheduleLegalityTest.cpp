// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// S1 to S6: for each rule an entry that just breaks it, with the whole text, and the nearest one that keeps it.

#include "codegen/schedule/Schedule.h"
#include "tests/schedule/MatmulStages.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace moec {
namespace {

using Values = std::map<std::string, int64_t>;

const MatmulStage bf16Stage = matmulStage("up", 768, 2048, 2, true, true);
const MatmulStage f32Stage = matmulStage("up", 768, 2048, 2, false, false);

ScheduleEntry entry(Values values, std::string numeric = "fma", int64_t first = 1, int64_t last = -1) {
  ScheduleEntry e;
  e.firstRow = first;
  e.lastRow = last;
  e.numeric = numeric;
  e.kernel.templateName = "panel";
  e.kernel.integers = values;
  return e;
}

// The message without its "stage up ISA rows R: " head, "" for a legal entry.
std::string check(const MatmulStage &facts, Isa isa, const ScheduleEntry &e, const std::string &templatesDir = "") {
  Result<> checked = checkEntry(facts, isa, e, templatesDir);
  if (checked)
    return "";
  std::string error = checked.error().message;
  std::string head = "stage up " + isaFacts(isa).name.str() + " rows " + rowRangeText(e) + ": ";
  EXPECT_EQ(error.substr(0, head.size()), head);
  return error.substr(std::min(head.size(), error.size()));
}

TEST(entry, s1_names) {
  ScheduleEntry e = entry({{"block_m", 4}, {"panel_m", 4}});
  e.kernel.templateName = "panels";
  Result<> checked = checkEntry(bf16Stage, Isa::Avx512, e);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message, "stage up avx512 rows 1..: S1: there is no kernel template 'panels'");
  e.kernel.templateName = "panel";
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "");
  e.kernel.integers["chunk"] = 16;
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: template 'panel' has no parameter 'chunk'");
  e.kernel.integers = {{"k_steps", 4}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e),
            "S1: parameter 'k_steps' of template 'panel' follows from the stage and cannot be set");
  e.kernel.integers = {{"a_access", 1}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e),
            "S1: parameter 'a_access' of template 'panel' follows from the stage and cannot be set");
  e.kernel.integers = {{"hint", 1}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e),
            "S1: parameter 'hint' of template 'panel' takes one of none, t0, t1, nta");
  e.kernel.integers = {};
  e.kernel.words = {{"block_m", "t1"}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: parameter 'block_m' of template 'panel' takes an integer");
}

TEST(entry, s1_allowed_sets) {
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 17}, {"panel_m", 17}})),
            "S1: block_m is 17, expected one of {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32, 48}");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 6}})),
            "S1: panel_m is 6, expected a multiple of block_m (4)");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 1000004}})),
            "S1: panel_m is 1000004, expected 1..1000000");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 0}})), "S1: block_m is 0, expected 1..1000000");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}, {"streams", 3}})),
            "S1: streams is 3, expected one of {1, 2, 4, 8, 16}");
  ScheduleEntry e = entry({{"block_m", 12}, {"panel_m", 12}, {"chunk", 7}});
  e.kernel.templateName = "panel_chunked";
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: chunk is 7, expected 8..64");
  e.kernel.integers["chunk"] = 65;
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: chunk is 65, expected 8..64");
  e.kernel.integers["chunk"] = 64;
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "");
  e = entry({{"block_m", 4}, {"panel_m", 4}});
  e.kernel.words = {{"a_hint", "t1"}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: a_hint is t1, expected one of {none, nta}");
  e.kernel.words = {{"hint", "t1> evil"}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e), "S1: hint is t1> evil, expected one of {none, t0, t1, nta}");
}

TEST(entry, s1_stage_sizes) {
  MatmulStage facts = bf16Stage;
  facts.k = int64_t(1) << 62;
  EXPECT_EQ(check(facts, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}})),
            "S1: a stage of 768 columns and depth 4611686018427387904 cannot be scheduled, expected both in "
            "1..2147483647");
  facts.k = 0;
  EXPECT_EQ(check(facts, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}})),
            "S1: a stage of 768 columns and depth 0 cannot be scheduled, expected both in 1..2147483647");
}

TEST(entry, s1_overlay_templates) {
  std::filesystem::path dir = std::filesystem::path(testing::TempDir()) / "moec-schedule-overlay";
  std::filesystem::create_directories(dir / "kernels");
  auto write = [&](const std::string &text) { std::ofstream(dir / "kernels" / "mine.mlir") << text; };
  ScheduleEntry e = entry({});
  e.kernel.templateName = "mine";
  write("#block_m = 4 : index // {4}: rows\n#panel_m = 4 : index // rows of an item\n");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e, dir),
            "S1: template 'mine' has no integer parameter 'block_k', which a schedule needs");
  std::string rest = "#panel_m = 4 : index // rows of an item\n#block_k = 32 : index // depth\n";
  write("#block_m = 4 : index // {4 - 8}: rows\n" + rest);
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e, dir), "S1: block_m is 4, expected one of {4 - 8}");
  write("#block_m = 4 : index // {4 .. x}: rows\n" + rest);
  EXPECT_EQ(
      check(bf16Stage, Isa::Avx512, e, dir),
      "S1: the allowed set '{4 .. x}' of parameter 'block_m' of template 'mine' is neither {a, b, ...} nor {a .. b}");
  write("#block_m = 4 : index // multiple of tile: rows\n" + rest);
  EXPECT_EQ(
      check(bf16Stage, Isa::Avx512, e, dir),
      "S1: the comment of parameter 'block_m' of template 'mine' names 'tile', which is not a parameter above it");
  write("#block_m = 99999999999999999999 : index // {4}: rows\n" + rest);
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e, dir),
            "S1: default '99999999999999999999 : index' of parameter 'block_m' of template 'mine' is not an integer");
  write("#block_m = 4 : index // {4}: rows\n" + rest + "#steps = 1 : index // = k / (block_k - 32)\n");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e, dir), "S1: formula 'k / (block_k - 32)' of parameter 'steps' of template "
                                                   "'mine': division by a value that is not positive");
  write("#block_m = 4 : index // {4}: rows\n" + rest);
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, e, dir), "");
  std::filesystem::remove_all(dir);
}

TEST(entry, s2_panel_holds_the_rows) {
  Values four = {{"block_m", 4}, {"panel_m", 4}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(four, "fma", 1, 4)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(four, "fma", 1, 5)),
            "S2: panel_m is 4, expected at least 5, the last row of the entry");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(four, "fma", 4)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(four, "fma", 5)),
            "S2: panel_m is 4, expected at least 5, the first row of the entry");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(four, "fma", 3, 2)),
            "S2: the row range is empty or does not start at 1 or above");
}

TEST(entry, s3_numeric) {
  Values block = {{"block_m", 16}, {"panel_m", 16}};
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry(block, "amx")), "");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry(block, "vnni")), "S3: numeric is 'vnni', expected amx, dot or fma");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(block, "amx")),
            "S3: numeric amx needs instruction set amx, found avx512");
  MatmulStage facts = bf16Stage;
  facts.in = MOEC_F32;
  EXPECT_EQ(check(facts, Isa::Amx, entry(block, "amx")),
            "S3: numeric amx needs bf16 input and bf16 weights, found f32 input and bf16 weights");
  Values eight = {{"block_m", 8}, {"panel_m", 8}};
  for (Isa isa : {Isa::Avx512Bf16, Isa::Amx})
    EXPECT_EQ(check(bf16Stage, isa, entry(eight, "dot")), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(eight, "dot")),
            "S3: numeric dot needs instruction set avx512_bf16 or amx, found avx512");
  EXPECT_EQ(check(facts, Isa::Avx512Bf16, entry(eight, "dot")),
            "S3: numeric dot needs bf16 input and bf16 weights, found f32 input and bf16 weights");
  for (int64_t rows : {1, 12, 14, 32, 48})
    EXPECT_EQ(check(bf16Stage, Isa::Amx, entry({{"block_m", rows}, {"panel_m", rows}}, "amx")), "");
}

TEST(entry, s3_depth_of_a_step) {
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}, {"block_k", 8}})),
            "S3: block_k is 8, expected 32 for bf16 weights");
  EXPECT_EQ(check(f32Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}})),
            "S3: block_k is 32, expected 4 or 8 for f32 weights");
  for (int64_t depth : {4, 8})
    EXPECT_EQ(check(f32Stage, Isa::Avx512, entry({{"block_m", 4}, {"panel_m", 4}, {"block_k", depth}})), "");
}

TEST(entry, s4_registers) {
  auto rows = [](int64_t count) { return entry({{"block_m", count}, {"panel_m", count}}); };
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, rows(14)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, rows(16)), "S4: block_m 16 needs 35 vector registers, avx512 has 32");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, rows(16)), "S4: block_m 16 needs 35 vector registers, amx has 32");
  auto dots = [](int64_t count) { return entry({{"block_m", count}, {"panel_m", count}}, "dot"); };
  EXPECT_EQ(check(bf16Stage, Isa::Avx512Bf16, dots(14)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512Bf16, dots(15)),
            "S4: block_m 15 needs 33 vector registers, avx512_bf16 has 32");
  EXPECT_EQ(check(bf16Stage, Isa::Avx2, rows(3)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx2, rows(4)), "S4: block_m 4 needs 21 vector registers, avx2 has 16");
  EXPECT_EQ(check(bf16Stage, Isa::Baseline, rows(1)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Baseline, rows(2)), "S4: block_m 2 needs 19 vector registers, baseline has 16");
}

TEST(entry, heights) {
  Values two = {{"block_m", 8}, {"panel_m", 16}, {"heights", 2}};
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(two)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry(two, "amx")), "S3: heights is 2, expected 1 for numeric amx");
  two["block_m"] = 1;
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, entry(two)), "S4: heights is 2, expected 1 for blocks of one row");
}

TEST(entry, s5_prefetch) {
  auto block = [](int64_t steps) { return entry({{"block_m", 4}, {"panel_m", 4}, {"prefetch_block", steps}}); };
  for (int64_t steps : {1, 32, 64, 128, 640})
    EXPECT_EQ(check(bf16Stage, Isa::Avx512, block(steps)), "");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, block(48)),
            "S5: prefetch_block is 48, expected a divisor or a multiple of k_steps (64)");
  EXPECT_EQ(check(bf16Stage, Isa::Avx512, block(96)),
            "S5: prefetch_block is 96, expected a divisor or a multiple of k_steps (64)");
  Values f32 = {{"block_m", 4}, {"panel_m", 4}, {"block_k", 4}, {"streams", 8}};
  EXPECT_EQ(check(f32Stage, Isa::Avx512, entry(f32)), "");
  f32["streams"] = 16;
  EXPECT_EQ(check(f32Stage, Isa::Avx512, entry(f32)),
            "S5: streams is 16, expected at most 8, the cache lines of a step");
  f32["block_k"] = 8;
  EXPECT_EQ(check(f32Stage, Isa::Avx512, entry(f32)), "");
}

TEST(entry, s6_scratch) {
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry({{"block_m", 32}, {"panel_m", 16384}}, "amx")), "");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry({{"block_m", 32}, {"panel_m", 16416}}, "amx")),
            "S6: panel_m 16416 packs 67239936 bytes of A, expected at most 67108864");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry({{"block_m", 4}, {"panel_m", 8128}})), "");
  EXPECT_EQ(check(bf16Stage, Isa::Amx, entry({{"block_m", 4}, {"panel_m", 8132}})),
            "S6: panel_m 8132 packs 67137792 bytes of A, expected at most 67108864");
}

TEST(entry, s7_stores_past_caches) {
  MatmulStage facts = f32Stage;
  ScheduleEntry e = entry({{"block_m", 4}, {"panel_m", 4}, {"block_k", 4}});
  e.kernel.words = {{"out_hint", "nta"}};
  facts.n = 768, facts.parts = 1, facts.result = MOEC_F32, facts.outStride = 3072;
  EXPECT_EQ(check(facts, Isa::Avx512, e), "");
  facts.outStride = 3088;
  EXPECT_EQ(check(facts, Isa::Avx512, e),
            "S7: out_hint is nta, expected none: a panel writes 32 of 768 columns, 128 bytes, and rows are 3088 bytes "
            "apart, which is not in whole lines of 64 bytes");
  facts.outStride = 3072, facts.n = 760;
  EXPECT_NE(check(facts, Isa::Avx512, e), "");
  facts.n = 768, facts.parts = 2;
  EXPECT_EQ(check(facts, Isa::Avx512, e), "");
  facts.result = MOEC_BF16, facts.outStride = 1536;
  EXPECT_EQ(check(facts, Isa::Avx512, e),
            "S7: out_hint is nta, expected none: a panel writes 16 of 768 columns, 32 bytes, and rows are 1536 bytes "
            "apart, which is not in whole lines of 64 bytes");
  facts.parts = 1;
  EXPECT_EQ(check(facts, Isa::Avx512, e), "");
}

TEST(stage, ranges_follow_each_other) {
  Values four = {{"block_m", 4}, {"panel_m", 16}};
  StageSchedule stage{"up", Isa::Avx512, {entry(four, "fma", 1, 4), entry(four, "fma", 5, -1)}};
  auto error = [&] {
    Result<> checked = checkStage(bf16Stage, stage);
    return checked ? "" : checked.error().message;
  };
  EXPECT_EQ(error(), "");
  stage.entries[1].firstRow = 6;
  EXPECT_EQ(error(), "stage up avx512: found rows 6.., expected a range from 5 with an open end");
  stage.entries[1].firstRow = 5;
  stage.entries[0].lastRow = -1;
  EXPECT_EQ(error(), "stage up avx512: found rows 1.., expected a range from 1 with a last row");
  stage.entries[0].lastRow = 4;
  stage.entries[1].lastRow = 8;
  EXPECT_EQ(error(), "stage up avx512: found rows 5..8, expected a range from 5 with an open end");
  stage.entries.clear();
  EXPECT_EQ(error(), "stage up avx512: 0 entries, expected 1..64");
}

} // namespace
} // namespace moec
