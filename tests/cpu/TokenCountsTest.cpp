// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every token count on layers whose sizes are multiples of no tile, against the oracle; the same bits from any number
// of threads and any workspace contents; no byte touched outside of what was asked for.

#include "CompiledLayer.h"

#include <algorithm>

namespace moec {
namespace {

std::string oddLayer(const std::string &dtype, int64_t hidden, int64_t intermediate) {
  return R"({"moec": 1, "name": "odd", "dtype": ")" + dtype + R"(", "hidden": )" + std::to_string(hidden) +
         R"(, "router": {"logit_dtype": "f32", "top_k": 2, "normalize": {"kind": "sum"}},
             "experts": {"count": 5, "intermediate": )" +
         std::to_string(intermediate) + "}}";
}

// One count: the oracle, bounds, and two more runs that differ in all that must not matter.
void checkCount(CompiledLayer &layer, const std::vector<float> &allX, const OracleAnswer &expected, int64_t tokens) {
  SCOPED_TRACE("T = " + std::to_string(tokens));
  std::vector<float> x(allX.begin(), allX.begin() + tokens * layer.spec.hidden);
  CallResult first = layer.run(x);
  ASSERT_EQ(disagreement(layer.spec, first, expected), "");
  EXPECT_TRUE(first.inBounds);
  CallResult second = layer.run(x, {2, Edge::Front, Workspace::Nan});
  EXPECT_TRUE(second.inBounds);
  EXPECT_TRUE(first.sameBits(second)) << "2 threads";
  CallResult third = layer.run(x, {3, Edge::Back, Workspace::Previous});
  EXPECT_TRUE(first.sameBits(third)) << "3 threads";
  CallResult plain = layer.run(x, {1, Edge::Back, Workspace::Previous, false});
  EXPECT_TRUE(plain.inBounds);
  EXPECT_EQ(first.yBytes, plain.yBytes) << "without optional outputs";
}

void sweep(const CpuTarget &target, const std::string &json, const std::vector<int64_t> &counts) {
  if (!machineRuns(target))
    GTEST_SKIP() << "this machine has no " << target.name;
  auto layer = CompiledLayer::make(json, target);
  ASSERT_TRUE(layer);
  std::vector<float> x = layer->randomX(*std::max_element(counts.begin(), counts.end()));
  OracleAnswer expected = layer->oracle(x);
  for (int64_t tokens : counts) {
    checkCount(*layer, x, expected, tokens);
    if (testing::Test::HasFatalFailure())
      return;
  }
}

std::vector<int64_t> everyCount() {
  std::vector<int64_t> counts;
  for (int64_t t = 0; t <= 130; ++t)
    counts.push_back(t);
  return counts;
}

class TokenCounts : public testing::TestWithParam<CpuTarget> {};
INSTANTIATE_TEST_SUITE_P(Cpu, TokenCounts, testing::ValuesIn(cpuTargets()), targetTestName);

TEST_P(TokenCounts, sweep_f32_every_count_to_130) { sweep(GetParam(), oddLayer("f32", 37, 21), everyCount()); }

TEST_P(TokenCounts, sweep_bf16_every_count_to_130) { sweep(GetParam(), oddLayer("bf16", 37, 21), everyCount()); }

// Counts around max_rows of the open row classes, where a group becomes several balanced blocks.
TEST_P(TokenCounts, blocks_f32_large_counts) { sweep(GetParam(), oddLayer("f32", 37, 21), {255, 256, 257, 300, 513}); }

TEST_P(TokenCounts, blocks_bf16_large_counts) {
  sweep(GetParam(), oddLayer("bf16", 37, 21), {255, 256, 257, 300, 513});
}

// All rows on one expert: one group holds T rows.
TEST_P(TokenCounts, blocks_bf16_one_group_of_many_rows) {
  std::string json = R"({"moec": 1, "name": "single", "dtype": "bf16", "hidden": 33, "router": {"top_k": 1},
                         "experts": {"count": 1, "intermediate": 17}})";
  sweep(GetParam(), json, {255, 256, 257, 272, 300, 513});
}

class StageSizes : public testing::TestWithParam<CpuTarget> {};
INSTANTIATE_TEST_SUITE_P(Cpu, StageSizes, testing::ValuesIn(cpuTargets()), targetTestName);

// Widths and depths one below, at and one above the 16 columns of a part, the 32 of a panel, the 32 of a depth step.
TEST_P(StageSizes, sizes_bf16_around_tile_multiples) {
  for (int64_t h : {15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65}) {
    SCOPED_TRACE("H " + std::to_string(h) + " I " + std::to_string(80 - h));
    sweep(GetParam(), oddLayer("bf16", h, 80 - h), {1, 7, 16, 40});
  }
}

TEST_P(StageSizes, sizes_f32_around_tile_multiples) {
  for (int64_t h : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
    SCOPED_TRACE("H " + std::to_string(h) + " I " + std::to_string(66 - h));
    sweep(GetParam(), oddLayer("f32", h, 66 - h), {1, 7, 13, 40});
  }
}

// The row classes of wide AMX stages, forced on stages too narrow to get them by themselves.
std::string wideAmxSchedule(const std::string &layer, const std::string &open) {
  auto entry = [](const char *rows, const std::string &kernel, int blockM, int panelM, const char *more) {
    return std::string("  rows ") + rows + " " + kernel + " { block_k = 32, block_m = " + std::to_string(blockM) +
           ", panel_m = " + std::to_string(panelM) + more + ", prefetch_block = 1, streams = 8 } numeric amx\n";
  };
  std::string text = "schedule " + layer + "\n";
  for (const char *stage : {"experts_gate_up", "experts_down"})
    text += std::string("stage ") + stage + " amx\n" + entry("1..4", "panel", 4, 4, "") +
            entry("5..16", "panel", 16, 16, "") + entry("17..32", "panel", 32, 32, "") +
            entry("33..48", "panel", 48, 48, "") + entry("49..", open, 32, 256, open == "panel" ? "" : ", chunk = 16");
  return text;
}

void sweepForced(const std::string &json, const std::string &schedule, const std::vector<int64_t> &counts) {
  auto layer = CompiledLayer::make(json, cpuTargets().back(), schedule);
  ASSERT_TRUE(layer);
  std::vector<float> x = layer->randomX(counts.back());
  OracleAnswer expected = layer->oracle(x);
  for (int64_t tokens : counts)
    checkCount(*layer, x, expected, tokens);
}

const char *singleExpert = R"({"moec": 1, "name": "single", "dtype": "bf16", "hidden": 33, "router": {"top_k": 1},
                               "experts": {"count": 1, "intermediate": 17}})";

TEST(RowClasses, wide_amx_every_class_and_split) {
  sweepForced(singleExpert, wideAmxSchedule("single", "panel"),
              {1, 4, 5, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97, 255, 256, 257, 272, 300, 513});
}

TEST(RowClasses, wide_amx_chunked_open_class) {
  sweepForced(singleExpert, wideAmxSchedule("single", "panel_chunked"), {48, 49, 64, 65, 97, 255, 256, 257, 300, 513});
}

// 4704 of depth are 147 steps: nine chunks of 16 and a shorter one.
TEST(RowClasses, deep_amx_chunked_down_stage) {
  std::string json = R"({"moec": 1, "name": "deep", "dtype": "bf16", "hidden": 64, "router": {"top_k": 1},
                         "experts": {"count": 1, "intermediate": 4704}})";
  sweepForced(json, wideAmxSchedule("deep", "panel_chunked"), {49, 70});
}

// Without a forced schedule the heuristics take the chunked template for such a depth.
TEST(RowClasses, deep_amx_uses_the_chunked_template) {
  auto layer = CompiledLayer::make(R"({"moec": 1, "name": "deep", "dtype": "bf16", "hidden": 320,
                                       "router": {"top_k": 1}, "experts": {"count": 1, "intermediate": 4704}})",
                                   cpuTargets().back());
  ASSERT_TRUE(layer);
  EXPECT_NE(layer->package->scheduleText.find("panel_chunked"), std::string::npos) << layer->package->scheduleText;
  std::vector<float> x = layer->randomX(50);
  EXPECT_EQ(disagreement(layer->spec, layer->run(x), layer->oracle(x)), "");
}

TEST_P(StageSizes, deep_bf16_down_stage) {
  std::string json = R"({"moec": 1, "name": "deep", "dtype": "bf16", "hidden": 64, "router": {"top_k": 1},
                         "experts": {"count": 1, "intermediate": 4704}})";
  sweep(GetParam(), json, {1, 33});
}

} // namespace
} // namespace moec
