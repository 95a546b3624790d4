// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA half of schedules: heuristics legal over a grid of stages, D1 to D6 each just broken, text that reads back.

#include "codegen/schedule/CudaSchedule.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

using Values = std::map<std::string, int64_t>;

StageFacts stageOf(int64_t n, int64_t k, int64_t parts, bool bf16Weight, bool bf16Input, int64_t groups = 128,
                   int64_t choices = 8) {
  StageFacts facts;
  facts.stage = "up";
  facts.n = n, facts.k = k, facts.parts = parts;
  facts.bf16Weight = bf16Weight, facts.bf16Input = bf16Input;
  facts.groups = groups, facts.rowsPerToken = choices;
  return facts;
}

const StageFacts bf16Stage = stageOf(768, 2048, 2, true, true);
const Values good = {{"block_m", 64}, {"block_n", 128}, {"block_k", 64}, {"stages", 3}, {"warps_m", 2}, {"warps_n", 4}};

CudaStage stage(const Values &values, CudaArch arch = CudaArch::Sm80, const std::string &templateName = "cuda/multistage") {
  CudaStage made;
  made.stage = "up";
  made.arch = arch;
  made.entries.emplace_back();
  made.entries.back().kernel.templateName = templateName;
  made.entries.back().kernel.integers = values;
  return made;
}

std::string check(const StageFacts &facts, const CudaStage &made, const std::string &templatesDir = "") {
  std::string error;
  return checkStage(facts, made, error, templatesDir) ? "" : error;
}

Values with(Values values, const std::string &name, int64_t value) {
  values[name] = value;
  return values;
}

} // namespace

TEST(cuda_schedule, legal_for_every_stage) {
  for (int64_t n : {1, 8, 100, 256, 2048, 1 << 20})
    for (int64_t k : {1, 3, 33, 768, 7168, 1 << 20})
      for (int64_t parts : {1, 2})
        for (int types = 0; types < 4; ++types)
          for (auto [groups, choices] : {std::pair<int64_t, int64_t>{1, 1}, {8, 2}, {256, 8}, {4096, 1}, {3, 3}})
            for (CudaArch arch : {CudaArch::Sm80, CudaArch::Sm90a}) {
              StageFacts facts = stageOf(n, k, parts, types & 1, types & 2, groups, choices);
              EXPECT_EQ(check(facts, cudaSchedule(facts, arch)), "") << n << " " << k << " " << parts << " " << types;
            }
}

// "1..256:16x128 ..." of the heuristic
static std::string ranges(const StageFacts &facts, CudaArch arch) {
  std::string text;
  for (const CudaEntry &entry : cudaSchedule(facts, arch).entries)
    text += (text.empty() ? "" : " ") + tokenRangeText(entry) + ":" + std::to_string(entry.kernel.integers.at("block_m")) + "x" +
            std::to_string(entry.kernel.integers.at("block_n"));
  return text;
}

TEST(cuda_schedule, ranges_follow_expected_rows) {
  EXPECT_EQ(ranges(bf16Stage, CudaArch::Sm90a), "1..2:16x32 3..256:16x128 257..512:32x128 513..1536:64x128 1537..:128x256");
  EXPECT_EQ(ranges(bf16Stage, CudaArch::Sm80), "1..2:16x32 3..256:16x128 257..512:32x128 513..1536:64x128 1537..:128x128");
  EXPECT_EQ(ranges(stageOf(14336, 4096, 2, true, true, 8, 2), CudaArch::Sm90a),
            "1..64:16x128 65..128:32x128 129..384:64x128 385..:128x256");
}

TEST(cuda_schedule, dense_stages_fill_the_device) {
  EXPECT_EQ(ranges(stageOf(128, 2048, 1, true, true, 1, 1), CudaArch::Sm90a),
            "1..2080:16x32 2081..8384:32x64 8385..16768:64x128 16769..:128x128");
  EXPECT_EQ(ranges(stageOf(2048, 7168, 2, true, true, 1, 1), CudaArch::Sm90a),
            "1..64:16x32 65..256:32x64 257..1024:64x128 1025..:128x256");
}

TEST(cuda_schedule, s1_and_d1) {
  EXPECT_EQ(check(bf16Stage, stage(good)), "");
  EXPECT_EQ(check(bf16Stage, stage(good, CudaArch::Sm90a, "cuda/none")),
            "stage up sm_90a tokens 1..: S1: there is no kernel template 'cuda/none'");
  EXPECT_EQ(check(bf16Stage, stage(with(good, "block_m", 48))),
            "stage up sm_80 tokens 1..: S1: block_m is 48, expected one of {16, 32, 64, 128}");
  EXPECT_EQ(check(bf16Stage, stage({}, CudaArch::Sm80, "panel")),
            "stage up sm_80 tokens 1..: S1: template 'panel' has no integer parameter 'block_n', which a schedule needs");
}

TEST(cuda_schedule, d2_rows_of_a_step) {
  StageFacts f32Stage = stageOf(768, 2048, 2, false, false), mixed = stageOf(768, 2048, 2, false, true);
  EXPECT_EQ(check(f32Stage, stage(with(good, "block_k", 16))), "");
  EXPECT_EQ(check(f32Stage, stage(good)), "stage up sm_80 tokens 1..: D2: block_k 64 makes rows of 256 bytes of input, "
                                          "expected 32, 64 or 128");
  EXPECT_EQ(check(mixed, stage(good)), "stage up sm_80 tokens 1..: D2: block_k 64 makes rows of 256 bytes of weights, "
                                       "expected 32, 64 or 128");
}

TEST(cuda_schedule, d3_warps_divide_the_tile) {
  EXPECT_EQ(check(bf16Stage, stage(with(good, "warps_m", 4))), "");
  EXPECT_EQ(check(bf16Stage, stage(with(with(good, "block_m", 16), "warps_m", 2))),
            "stage up sm_80 tokens 1..: D3: block_m is 16, expected a multiple of 16 * warps_m, 32");
  EXPECT_EQ(check(bf16Stage, stage(with(good, "block_n", 64))),
            "stage up sm_80 tokens 1..: D3: block_n is 64, expected a multiple of 16 * parts * warps_n, 128");
  EXPECT_EQ(check(stageOf(768, 2048, 1, true, true), stage(with(good, "block_n", 64))), "");
}

TEST(cuda_schedule, d4_shared_memory) {
  EXPECT_EQ(check(bf16Stage, stage(with(good, "stages", 4))), "");
  EXPECT_EQ(check(bf16Stage, stage(with(good, "stages", 5))),
            "stage up sm_80 tokens 1..: D4: 5 stages of 24576 bytes take 122880 bytes of shared memory, expected at most "
            "101376");
  EXPECT_EQ(check(bf16Stage, stage(with(good, "stages", 8), CudaArch::Sm90a)), "");
}

TEST(cuda_schedule, d5_threads_and_accumulators) {
  Values wide = {{"block_m", 128}, {"block_n", 256}, {"block_k", 16}, {"stages", 2}, {"warps_m", 2}, {"warps_n", 4}};
  EXPECT_EQ(check(bf16Stage, stage(wide)), "");
  EXPECT_EQ(check(bf16Stage, stage(with(wide, "warps_n", 2))),
            "stage up sm_80 tokens 1..: D5: 128 x 256 sums on 128 threads are 256 each, expected at most 128");
  EXPECT_EQ(check(stageOf(768, 2048, 1, true, true), stage(with(with(wide, "warps_m", 4), "warps_n", 8))),
            "stage up sm_80 tokens 1..: D5: 1024 threads, expected at most 512");
}

TEST(cuda_schedule, d6_roles) {
  const std::string roles = "cuda/warp_specialised";
  Values values = {{"block_m", 128}, {"block_n", 256}, {"block_k", 64}, {"stages", 4}, {"lag", 2}, {"consumers", 2}};
  EXPECT_EQ(check(bf16Stage, stage(values, CudaArch::Sm90a, roles)), "");
  EXPECT_EQ(check(bf16Stage, stage(values, CudaArch::Sm80, roles)),
            "stage up sm_80 tokens 1..: D6: template 'cuda/warp_specialised' is for sm_90a");
  EXPECT_EQ(check(stageOf(768, 2048, 2, true, false), stage(values, CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D6: template 'cuda/warp_specialised' needs bf16 input and weights, or f16");
  EXPECT_EQ(check(bf16Stage, stage(with(values, "consumers", 1), CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D6: block_m is 128, expected 64 * consumers, 64");
  EXPECT_EQ(check(bf16Stage, stage(with(with(values, "stages", 3), "lag", 2), CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D6: lag is 2, expected at most stages - 2, 1");
  EXPECT_EQ(check(bf16Stage, stage(with(values, "stages", 5), CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D4: 5 stages of 49168 bytes take 245840 bytes of shared memory, expected at most "
            "232448");
}

TEST(cuda_schedule, ranges_of_a_stage) {
  CudaStage made = stage(good);
  made.entries.front().lastToken = 4;
  EXPECT_EQ(check(bf16Stage, made), "stage up sm_80: found tokens 1..4, expected a range from 1 with an open end");
  made.entries.push_back(made.entries.front());
  made.entries.back().firstToken = 6;
  made.entries.back().lastToken = -1;
  EXPECT_EQ(check(bf16Stage, made), "stage up sm_80: found tokens 6.., expected a range from 5 with an open end");
  made.entries.clear();
  EXPECT_EQ(check(bf16Stage, made), "stage up sm_80: 0 entries, expected 1..64");
}

TEST(cuda_schedule, text_reads_back) {
  Schedule schedule;
  schedule.layer = "tiny";
  schedule.cudaStages = {cudaSchedule(bf16Stage, CudaArch::Sm90a), cudaSchedule(bf16Stage, CudaArch::Sm80)};
  std::string text = printSchedule(schedule), error;
  EXPECT_EQ(text.substr(0, text.find('}') + 2),
            "schedule tiny\nstage up sm_90a\n  tokens 1..2      multistage { block_k = 64, block_m = 16, block_n = 32, "
            "stages = 8, warps_m = 1, warps_n = 1 }\n");
  Schedule back;
  ASSERT_TRUE(parseSchedule(text, "t.txt", back, error)) << error;
  EXPECT_EQ(printSchedule(back), text);
  EXPECT_TRUE(back.stages.empty());
  EXPECT_NE(back.find("up", CudaArch::Sm80), nullptr);
  EXPECT_EQ(back.find("down", CudaArch::Sm80), nullptr);
}

TEST(cuda_schedule, text_errors) {
  auto errorOf = [](const std::string &text) {
    Schedule schedule;
    std::string error;
    EXPECT_FALSE(parseSchedule("schedule tiny\nstage up sm_80\n" + text, "t.txt", schedule, error));
    return error;
  };
  EXPECT_EQ(errorOf("  rows 1.. panel { } numeric fma"), "t.txt:3:3: found 'rows', expected 'tokens'");
  EXPECT_EQ(errorOf("  tokens 2.. multistage { }"),
            "t.txt:3:10: found first token 2, expected 1: ranges start at token 1");
  EXPECT_EQ(errorOf("  tokens 1..4 multistage { } tokens 6.. multistage { }"),
            "t.txt:3:37: found first token 6, expected 5: ranges follow each other without a gap");
  EXPECT_EQ(errorOf("  tokens 1.. panel { }"), "t.txt:3:14: found template 'panel', expected one of: multistage, "
                                                    "warp_specialised");
  EXPECT_EQ(errorOf("  tokens 1.. multistage { k_steps = 3 }"),
            "t.txt:3:27: found 'k_steps', which follows from the stage, expected one of block_m, block_n, block_k, stages, "
            "warps_m, warps_n");
  EXPECT_EQ(errorOf("  tokens 1.. multistage { } stage up sm_80 tokens 1.. multistage { }"),
            "t.txt:3:29: found a second schedule of stage 'up' for sm_80, expected one");
}

} // namespace moec
