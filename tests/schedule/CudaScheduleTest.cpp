// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA half of schedules: heuristics legal over a grid of stages, D1 to D11 each just broken, text that reads back.

#include "codegen/schedule/CudaSchedule.h"
#include "tests/schedule/MatmulStages.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace moec {
namespace {

using Values = std::map<std::string, int64_t>;

MatmulStage stageOf(int64_t n, int64_t k, int64_t parts, bool bf16Weight, bool bf16Input, int64_t groups = 128,
                    int64_t choices = 8) {
  MatmulStage facts = matmulStage("up", n, k, parts, bf16Weight, bf16Input);
  facts.groups = groups, facts.rowsPerToken = choices, facts.mode.routed = facts.gathered = groups > 1;
  facts.weightsEarly = parts == 1;
  return facts;
}

const MatmulStage bf16Stage = stageOf(768, 2048, 2, true, true);
const Values good = {{"block_m", 64}, {"block_n", 128}, {"block_k", 64}, {"stages", 3}, {"warps_m", 2}, {"warps_n", 4}};

CudaStage stage(const Values &values, CudaArch arch = CudaArch::Sm80,
                const std::string &templateName = "cuda/multistage") {
  CudaStage made;
  made.stage = "up";
  made.arch = arch;
  made.entries.emplace_back();
  made.entries.back().kernel.templateName = templateName;
  made.entries.back().kernel.integers = values;
  return made;
}

std::string check(const MatmulStage &facts, const CudaStage &made, const std::string &templatesDir = "") {
  Result<> checked = checkStage(facts, made, templatesDir);
  return checked ? "" : checked.error().message;
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
        for (int types = 0; types < 5; ++types) // 4: f32 as tf32
          for (auto [groups, choices] : {std::pair<int64_t, int64_t>{1, 1}, {8, 2}, {256, 8}, {4096, 1}, {3, 3}})
            for (CudaArch arch : {CudaArch::Sm80, CudaArch::Sm90a}) {
              MatmulStage facts = stageOf(n, k, parts, types & 1, types & 2, groups, choices);
              facts.mode.tf32 = types == 4;
              EXPECT_EQ(check(facts, cudaSchedule(facts, arch)), "") << n << " " << k << " " << parts << " " << types;
            }
}

// "1..256:m16x128 ..." of the heuristic: m multistage, w warp_specialised, c contiguous, s swapped, S
// swapped_specialised; /4 splits
static std::string ranges(const MatmulStage &facts, CudaArch arch) {
  std::string text;
  for (const CudaEntry &entry : cudaSchedule(facts, arch).entries) {
    const auto &values = entry.kernel.integers;
    const std::string &name = entry.kernel.templateName;
    const char *letter = name == "cuda/multistage"         ? "m"
                         : name == "cuda/warp_specialised" ? "w"
                         : name == "cuda/contiguous"       ? "c"
                         : name == "cuda/swapped"          ? "s"
                                                           : "S";
    int64_t splits = values.count("splits") ? values.at("splits") : 1;
    text += (text.empty() ? "" : " ") + tokenRangeText(entry) + ":" + letter + std::to_string(values.at("block_m")) +
            "x" + std::to_string(values.at("block_n")) + (splits > 1 ? "/" + std::to_string(splits) : "");
  }
  return text;
}

TEST(cuda_schedule, ranges_follow_expected_rows) {
  EXPECT_EQ(ranges(bf16Stage, CudaArch::Sm90a),
            "1..2:s8x32 3..64:S8x128 65..192:S16x128 193..512:m32x128 513..1536:w64x128 1537..:w128x256");
  EXPECT_EQ(ranges(bf16Stage, CudaArch::Sm80),
            "1..2:s8x32 3..64:s8x128 65..192:s16x128 193..512:m32x128 513..1536:m64x128 1537..:m128x128");
  EXPECT_EQ(ranges(stageOf(14336, 4096, 2, true, true, 8, 2), CudaArch::Sm90a),
            "1..16:S8x128 17..48:S16x128 49..128:m32x128 129..384:w64x128 385..:w128x256");
  MatmulStage f32Stage = stageOf(768, 2048, 2, false, false);
  EXPECT_EQ(ranges(f32Stage, CudaArch::Sm90a), "1..2:m16x32 3..192:m16x64 193..512:m32x64 513..:m64x64");
  f32Stage.mode.tf32 = true;
  EXPECT_EQ(ranges(f32Stage, CudaArch::Sm90a),
            "1..2:s8x32 3..64:s8x128 65..192:s16x128 193..512:m32x128 513..1536:m64x128 1537..:m128x128");
}

TEST(cuda_schedule, dense_stages_fill_the_device) {
  EXPECT_EQ(ranges(stageOf(128, 2048, 1, true, true, 1, 1), CudaArch::Sm90a),
            "1..8:s8x32/8 9..16:s16x32/8 17..2080:m16x32 2081..8384:m32x64 8385..16768:c64x128 16769..:c128x128");
  EXPECT_EQ(ranges(stageOf(2048, 7168, 2, true, true, 1, 1), CudaArch::Sm90a),
            "1..8:s8x32 9..16:s16x32 17..64:m16x32 65..256:m32x64 257..1024:c64x128 1025..:c128x256");
  EXPECT_EQ(ranges(stageOf(256, 7168, 1, false, false, 1, 1), CudaArch::Sm80), // a router in f32
            "1..16:m16x32/16 17..1024:m16x32 1025..4160:m32x64 4161..:m64x64");
  // 64 KiB: one block's
  EXPECT_EQ(ranges(stageOf(64, 1024, 1, true, true, 1, 1), CudaArch::Sm80).substr(0, 9), "1..8:s8x3");
  EXPECT_EQ(ranges(stageOf(64, 1024, 1, true, true, 1, 1), CudaArch::Sm80).find('/'), std::string::npos);
}

TEST(cuda_schedule, d7_weights_first) {
  Values few = {{"block_m", 8}, {"block_n", 128}, {"block_k", 64}, {"stages", 4}, {"warps_m", 1}, {"warps_n", 4}};
  const std::string swapped = "cuda/swapped", roles = "cuda/swapped_specialised";
  EXPECT_EQ(check(bf16Stage, stage(few, CudaArch::Sm80, swapped)), "");
  EXPECT_EQ(
      check(stageOf(768, 2048, 2, false, false), stage(with(few, "block_k", 32), CudaArch::Sm80, swapped)),
      "stage up sm_80 tokens 1..: D7: template 'cuda/swapped' needs input and weights of one type that tensor cores "
      "multiply: bf16, f16, or f32 with --math tf32");
  EXPECT_EQ(check(bf16Stage, stage(with(few, "block_k", 16), CudaArch::Sm80, swapped)),
            "stage up sm_80 tokens 1..: D7: block_k 16 makes rows of 32 bytes, expected 64 or 128");
  EXPECT_EQ(check(bf16Stage, stage(with(few, "block_n", 16), CudaArch::Sm80, swapped)),
            "stage up sm_80 tokens 1..: D3: block_n is 16, expected a multiple of 16 * parts * warps_n, 128");
  Values specialised = {{"block_m", 8}, {"block_n", 128}, {"block_k", 64}, {"stages", 6}, {"lag", 3}, {"consumers", 1}};
  EXPECT_EQ(check(bf16Stage, stage(specialised, CudaArch::Sm90a, roles)), "");
  EXPECT_EQ(check(bf16Stage, stage(specialised, CudaArch::Sm80, roles)),
            "stage up sm_80 tokens 1..: D6: template 'cuda/swapped_specialised' is for sm_90a");
  EXPECT_EQ(check(bf16Stage, stage(with(specialised, "consumers", 2), CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D6: block_n is 128, expected 64 * parts * consumers, 256");
  EXPECT_EQ(check(bf16Stage, stage(with(specialised, "block_n", 256), CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D6: block_n is 256, expected 64 * parts * consumers, 128");
}

TEST(cuda_schedule, d9_rows_by_tma) {
  Values values = {{"block_m", 128}, {"block_n", 256}, {"block_k", 64}, {"stages", 4}, {"consumers", 2}};
  MatmulStage facts = bf16Stage;
  EXPECT_EQ(check(facts, stage(values, CudaArch::Sm90a, "cuda/contiguous")), "");
  facts.gathered = false, facts.aStride = 8;
  EXPECT_EQ(check(facts, stage(values, CudaArch::Sm90a, "cuda/contiguous")),
            "stage up sm_90a tokens 1..: D9: template 'cuda/contiguous' needs rows of A as they are, at multiples of "
            "16 bytes "
            "where they are not gathered");
  EXPECT_EQ(check(facts, stage(with(values, "lag", 1), CudaArch::Sm90a, "cuda/warp_specialised")), "");
  EXPECT_EQ(check(bf16Stage, stage(with(values, "lag", 1), CudaArch::Sm90a, "cuda/contiguous")),
            "stage up sm_90a tokens 1..: S1: parameter 'lag' of template 'cuda/contiguous' follows from the stage and "
            "cannot be set");
}

TEST(cuda_schedule, d8_splits) {
  MatmulStage router = stageOf(128, 2048, 1, true, true, 1, 1);
  Values values = {{"block_m", 16}, {"block_n", 32}, {"block_k", 64}, {"stages", 4},
                   {"warps_m", 1},  {"warps_n", 2},  {"splits", 8}};
  auto until = [&](int64_t last, const Values &chosen) {
    CudaStage made = stage(chosen);
    made.entries.push_back(made.entries.front());
    made.entries.front().lastToken = last;
    made.entries.back().firstToken = last + 1;
    made.entries.back().kernel.integers["splits"] = 1;
    return made;
  };
  EXPECT_EQ(check(router, until(64, values)), "");
  EXPECT_EQ(check(router, until(65, values)),
            "stage up sm_80 tokens 1..65: D8: splits is 8, expected 1 beyond 64 tokens");
  EXPECT_EQ(check(router, stage(values)), "stage up sm_80 tokens 1..: D8: splits is 8, expected 1 beyond 64 tokens");
  EXPECT_EQ(check(router, until(8, with(values, "splits", 33))),
            "stage up sm_80 tokens 1..8: D8: splits is 33, but 32 steps make 32 shares");
  EXPECT_EQ(check(router, until(8, with(values, "splits", 12))),
            "stage up sm_80 tokens 1..8: D8: splits is 12, but 32 steps make 11 shares");
  EXPECT_EQ(check(stageOf(128, 2048, 1, true, true), until(8, values)),
            "stage up sm_80 tokens 1..8: D8: splits is 8, expected 1 for a stage with a route");
  EXPECT_EQ(check(stageOf(1 << 20, 2048, 1, true, true, 1, 1), until(16, values)),
            "stage up sm_80 tokens 1..16: D8: partial sums take 536870912 bytes, expected at most 67108864");
}

TEST(cuda_schedule, d10_early) {
  MatmulStage first = stageOf(768, 2048, 2, true, true), second = first;
  second.weightsEarly = true;
  Values plain = with(good, "early", 3);
  EXPECT_EQ(check(second, stage(plain, CudaArch::Sm90a)), "");
  EXPECT_EQ(check(first, stage(plain, CudaArch::Sm90a)), "stage up sm_90a tokens 1..: D10: early is 3, but which "
                                                         "weights a block reads first is known only when the launch "
                                                         "before has ended");
  EXPECT_EQ(check(second, stage(plain)), "stage up sm_80 tokens 1..: D10: early is 3, expected 1: only sm_90a starts a "
                                         "kernel before the one before has ended");
  EXPECT_EQ(check(second, stage(with(good, "early", 2), CudaArch::Sm90a)),
            "stage up sm_90a tokens 1..: S1: early is 2, expected one of {1, 3}");
  Values roles = {{"block_m", 64}, {"block_n", 128}, {"block_k", 64}, {"stages", 4},
                  {"lag", 1},      {"consumers", 1}, {"early", 2}};
  EXPECT_EQ(check(first, stage(roles, CudaArch::Sm90a, "cuda/warp_specialised")), "");
}

TEST(cuda_schedule, d11_vacant) {
  const std::string roles = "cuda/warp_specialised";
  Values two = {{"block_m", 128}, {"block_n", 256}, {"block_k", 64}, {"stages", 4},
                {"lag", 1},       {"consumers", 2}, {"vacant", 2}};
  Values one = with(with(with(two, "block_m", 64), "block_n", 128), "consumers", 1);
  EXPECT_EQ(check(bf16Stage, stage(two, CudaArch::Sm90a, roles)), "");
  EXPECT_EQ(check(bf16Stage, stage(one, CudaArch::Sm90a, roles)),
            "stage up sm_90a tokens 1..: D11: vacant is 2, expected 1 with one consumer, which has rows of every tile");
  EXPECT_EQ(check(bf16Stage, stage(with(one, "vacant", 1), CudaArch::Sm90a, roles)), "");
}

TEST(cuda_schedule, s1_and_d1) {
  EXPECT_EQ(check(bf16Stage, stage(good)), "");
  EXPECT_EQ(check(bf16Stage, stage(good, CudaArch::Sm90a, "cuda/none")),
            "stage up sm_90a tokens 1..: S1: there is no kernel template 'cuda/none'");
  EXPECT_EQ(check(bf16Stage, stage(with(good, "block_m", 48))),
            "stage up sm_80 tokens 1..: S1: block_m is 48, expected one of {16, 32, 64, 128}");
  EXPECT_EQ(
      check(bf16Stage, stage({}, CudaArch::Sm80, "panel")),
      "stage up sm_80 tokens 1..: S1: template 'panel' has no integer parameter 'block_n', which a schedule needs");
}

TEST(cuda_schedule, d1_warps_of_an_overlay) {
  std::filesystem::path dir = std::filesystem::path(testing::TempDir()) / "moec-cuda-schedule-overlay";
  std::filesystem::create_directories(dir / "kernels/cuda");
  std::ofstream(dir / "kernels/cuda/plain.mlir")
      << "#block_m = 64 : index // {64}: rows\n#block_n = 64 : index // {64}: columns\n"
         "#block_k = 64 : index // {64}: depth\n#stages = 4 : index // {4}: slots\n";
  EXPECT_EQ(check(bf16Stage, stage({}, CudaArch::Sm80, "cuda/plain"), dir.string()),
            "stage up sm_80 tokens 1..: D1: template 'cuda/plain' has no integer parameter 'warps_m'");
  std::filesystem::remove_all(dir);
}

TEST(cuda_schedule, d2_rows_of_a_step) {
  MatmulStage f32Stage = stageOf(768, 2048, 2, false, false), mixed = stageOf(768, 2048, 2, false, true);
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
  EXPECT_EQ(
      check(bf16Stage, stage(with(good, "stages", 5))),
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
  EXPECT_EQ(
      check(bf16Stage, stage(with(values, "stages", 5), CudaArch::Sm90a, roles)),
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
  schedule.fronts = {cudaFront(CudaArch::Sm90a), {CudaArch::Sm80, 0}};
  std::string text = printSchedule(schedule);
  EXPECT_EQ(text.substr(0, text.find('}') + 2),
            "schedule tiny\nstage up sm_90a\n  tokens 1..2      swapped { block_k = 64, block_m = 8, block_n = 32, "
            "early = 1, splits = 1, stages = 8, warps_m = 1, warps_n = 1 }\n");
  Result<Schedule> read = parseSchedule(text, "t.txt");
  ASSERT_TRUE(read) << read.error().placedMessage();
  const Schedule &back = *read;
  EXPECT_EQ(printSchedule(back), text);
  EXPECT_TRUE(back.stages.empty());
  EXPECT_NE(back.find("up", CudaArch::Sm80), nullptr);
  EXPECT_EQ(back.find("down", CudaArch::Sm80), nullptr);
  EXPECT_EQ(text.substr(text.find("front")), "front sm_90a tokens 1..16\nfront sm_80 none\n");
  ASSERT_NE(back.findFront(CudaArch::Sm80), nullptr);
  EXPECT_EQ(back.findFront(CudaArch::Sm90a)->lastToken, 16);
  EXPECT_EQ(back.findFront(CudaArch::Sm80)->lastToken, 0);
}

TEST(cuda_schedule, text_errors) {
  auto errorOf = [](const std::string &text) {
    Result<Schedule> schedule = parseSchedule("schedule tiny\nstage up sm_80\n" + text, "t.txt");
    EXPECT_FALSE(schedule);
    return schedule ? "" : schedule.error().placedMessage();
  };
  EXPECT_EQ(errorOf("  rows 1.. panel { } numeric fma"), "t.txt:3:3: found 'rows', expected 'tokens'");
  EXPECT_EQ(errorOf("  tokens 2.. multistage { }"),
            "t.txt:3:10: found first token 2, expected 1: ranges start at token 1");
  EXPECT_EQ(errorOf("  tokens 1..4 multistage { } tokens 6.. multistage { }"),
            "t.txt:3:37: found first token 6, expected 5: ranges follow each other without a gap");
  EXPECT_EQ(errorOf("  tokens 1.. panel { }"),
            "t.txt:3:14: found template 'panel', expected one of: contiguous, multistage, "
            "swapped, swapped_specialised, warp_specialised");
  EXPECT_EQ(
      errorOf("  tokens 1.. multistage { k_steps = 3 }"),
      "t.txt:3:27: found 'k_steps', which follows from the stage, expected one of block_m, block_n, block_k, stages, "
      "early, warps_m, warps_n, splits");
  EXPECT_EQ(errorOf("  tokens 1.. multistage { } stage up sm_80 tokens 1.. multistage { }"),
            "t.txt:3:29: found a second schedule of stage 'up' for sm_80, expected one");
  const std::string stage = "  tokens 1.. multistage { }\n";
  EXPECT_EQ(errorOf(stage + "front sm_75 none"),
            "t.txt:4:7: found 'sm_75', expected a CUDA architecture, sm_80 or sm_90a");
  EXPECT_EQ(errorOf(stage + "front sm_80 all"),
            "t.txt:4:13: found 'all', expected 'tokens' or 'none' after the architecture of a front");
  EXPECT_EQ(errorOf(stage + "front sm_80 tokens 1.."),
            "t.txt:4:1: found a front without a last token, expected at most 64: one block does its work");
  EXPECT_EQ(errorOf(stage + "front sm_80 tokens 1..65"),
            "t.txt:4:1: found a front of 65 tokens, expected at most 64: one block does its work");
  EXPECT_EQ(errorOf(stage + "front sm_80 tokens 2..9"),
            "t.txt:4:20: found first token 2, expected 1: ranges start at token 1");
  EXPECT_EQ(errorOf(stage + "front sm_80 none front sm_80 none"),
            "t.txt:4:18: found a second front for sm_80, expected one");
}

} // namespace moec
