// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The analytic model of CUDA kernels: what it says when one figure of a kernel or a device changes, which candidates it
// never puts first, and which kernels count as having the same bits.

#include "codegen/search/CudaCandidates.h"
#include "codegen/search/CudaRank.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

// Rows of 128 experts, 8 of them a token: the size of a layer that people run.
MatmulStage wideStage() {
  MatmulStage stage;
  stage.name = "experts_gate_up";
  stage.n = 768, stage.k = 2048, stage.parts = 2;
  stage.in = stage.weight = stage.result = MOEC_BF16;
  stage.groups = 128, stage.rowsPerToken = 8;
  stage.aStride = 4096, stage.outStride = 1536;
  stage.gathered = stage.mode.routed = true;
  return stage;
}

CudaEntry entryOf(const std::string &name, std::map<std::string, int64_t> integers) {
  CudaEntry entry;
  entry.kernel = {"cuda/" + name, std::move(integers), {}};
  return entry;
}

CudaEntry multistage(int64_t blockM = 64, int64_t stages = 4) {
  return entryOf("multistage", {{"block_m", blockM},
                                {"block_n", 128},
                                {"block_k", 64},
                                {"stages", stages},
                                {"warps_m", 2},
                                {"warps_n", 4},
                                {"splits", 1},
                                {"early", 1}});
}

CudaKernelFigures figures(int64_t registers = 96) {
  CudaKernelFigures cost;
  cost.threads = 256, cost.sharedBytes = 96 << 10, cost.registers = registers;
  return cost;
}

double secondsOf(const CudaEntry &entry, const CudaKernelFigures &cost, int64_t tokens, const GpuFacts &gpu) {
  CudaPrediction found = predictCuda(wideStage(), entry, cost, gpu, tokens, {});
  EXPECT_EQ(found.unfit, "");
  return found.seconds;
}

TEST(cuda_model, devices_are_data) {
  EXPECT_EQ(gpuKeys(), "h100, h200, a100");
  EXPECT_EQ(findGpu("b300"), nullptr);
  EXPECT_STREQ(gpuOf(CudaArch::Sm90a).key, "h100");
  EXPECT_STREQ(gpuOf(CudaArch::Sm80).key, "a100");
  const GpuFacts &h100 = *findGpu("h100");
  EXPECT_EQ(h100.multiprocessors, 132);
  EXPECT_DOUBLE_EQ(h100.dramBytes, 3.35e12);
  EXPECT_DOUBLE_EQ(h100.tensorFlops, 989e12);
}

// A few tokens: weights are the traffic, so the device with the faster memory is faster by as much as its memory is.
TEST(cuda_model, few_tokens_are_bound_by_memory) {
  CudaPrediction h100 = predictCuda(wideStage(), multistage(16), figures(), *findGpu("h100"), 32, {});
  CudaPrediction h200 = predictCuda(wideStage(), multistage(16), figures(), *findGpu("h200"), 32, {});
  EXPECT_STREQ(h100.bound, "DRAM");
  EXPECT_GT(h100.seconds, h200.seconds * 1.2);
  // 86 % of 128 experts have a row: 0.86 * 128 * 768 * 2 * 2048 * 2 bytes at 0.85 * 3.35 TB/s are 243 us.
  EXPECT_NEAR(h100.seconds * 1e6, 245, 15);
  EXPECT_NEAR(h100.flops, 2.0 * 32 * 8 * 768 * 2 * 2048, h100.flops * 0.05);
}

// A gradient of x that is added to another's reads as many rows more as it writes.
TEST(cuda_model, rows_that_an_epilogue_adds_are_read) {
  MatmulStage added = wideStage();
  double before = predictCuda(added, multistage(64), figures(), *findGpu("h100"), 8192, {}).bytes;
  added.epilogueOperands.push_back({mlir::Type(), "elem", added.n * 4});
  added.epilogueOperands.push_back({mlir::Type(), "col", added.n * 4});
  double after = predictCuda(added, multistage(64), figures(), *findGpu("h100"), 8192, {}).bytes;
  EXPECT_NEAR(after - before, 8192.0 * 8 * 768 * 4, 0.05 * 8192.0 * 8 * 768 * 4);
}

TEST(cuda_model, many_tokens_are_bound_by_the_tensor_cores_or_l2) {
  CudaPrediction found = predictCuda(wideStage(), multistage(64), figures(), *findGpu("h100"), 8192, {});
  EXPECT_STRNE(found.bound, "DRAM");
  GpuFacts faster = *findGpu("h100");
  faster.dramBytes *= 4;
  EXPECT_DOUBLE_EQ(predictCuda(wideStage(), multistage(64), figures(), faster, 8192, {}).seconds, found.seconds);
}

// Two slots cannot hold as many bytes in flight as eight.
TEST(cuda_model, stages_hide_memory) {
  CudaKernelFigures alone = figures(255); // one block a multiprocessor
  EXPECT_GT(secondsOf(multistage(16, 2), alone, 1, *findGpu("h200")),
            1.5 * secondsOf(multistage(16, 8), alone, 1, *findGpu("h200")));
}

// One tile more than fits at once costs a turn of all.
TEST(cuda_model, waves) {
  GpuFacts gpu = *findGpu("h100");
  gpu.dramBytes = gpu.l2Bytes = 1e18;
  gpu.dramLatency = 1e-15;
  MatmulStage dense = wideStage();
  dense.mode.routed = dense.gathered = false;
  dense.groups = dense.rowsPerToken = 1, dense.parts = 1, dense.n = 128;
  auto seconds = [&](int64_t tiles) {
    return predictCuda(dense, multistage(64), figures(), gpu, tiles * 64, {}).seconds;
  };
  int64_t resident = 2 * 132; // 96 KiB of 228 KiB
  EXPECT_DOUBLE_EQ(seconds(resident - 1), seconds(resident));
  EXPECT_GT(seconds(resident + 1), 1.5 * seconds(resident));
}

TEST(cuda_model, registers_and_shared_memory_limit_the_blocks) {
  auto blocks = [](CudaKernelFigures cost) {
    return predictCuda(wideStage(), multistage(), cost, *findGpu("h100"), 64, {}).blocks;
  };
  CudaKernelFigures small = figures(32);
  small.sharedBytes = 16 << 10;
  EXPECT_EQ(blocks(small), 8); // 65536 registers / (256 * 32)
  small.registers = 33;        // 40, in eights
  EXPECT_EQ(blocks(small), 6);
  small.sharedBytes = 100 << 10;
  EXPECT_EQ(blocks(small), 2);
  small.blocksPerSm = 1;
  EXPECT_EQ(blocks(small), 1);
}

TEST(cuda_model, what_spills_or_does_not_fit_has_no_time) {
  auto unfit = [](CudaKernelFigures cost) {
    CudaPrediction found = predictCuda(wideStage(), multistage(), cost, *findGpu("h100"), 64, {});
    EXPECT_EQ(found.seconds, 0);
    return found.unfit;
  };
  CudaKernelFigures cost = figures();
  cost.spillBytes = 4;
  EXPECT_EQ(unfit(cost), "spills 4 bytes per thread");
  cost = figures();
  cost.sharedBytes = (227 << 10) + 1;
  EXPECT_EQ(unfit(cost), "needs 232449 bytes of shared memory, a block has 232448 bytes");
  cost = figures(255);
  cost.threads = 512;
  EXPECT_EQ(unfit(cost), "needs 130560 registers, a multiprocessor has 65536");
}

// Whatever gain a model gives it, a candidate without a time comes last.
TEST(cuda_rank, failed_candidates_are_never_first) {
  auto candidate = [](int64_t stages, double gain, const std::string &failed) {
    RankedCandidate c;
    c.entry = multistage(64, stages);
    c.times.gain = gain;
    c.failed = failed;
    return c;
  };
  std::vector<RankedCandidate> all = {candidate(2, 9, "spills 4 bytes per thread"), candidate(3, 0.1, ""),
                                      candidate(5, 0.2, ""), candidate(6, 8, "ptxas failed"),
                                      candidate(7, 0.20001, "")};
  sortRanked(all, multistage(64, 7));
  std::vector<int64_t> order;
  for (const RankedCandidate &c : all)
    order.push_back(c.entry.kernel.integers.at("stages"));
  EXPECT_EQ(order, (std::vector<int64_t>{7, 5, 3, 2, 6}));
}

TEST(cuda_candidates, bits) {
  CudaEntry roles = entryOf("warp_specialised", {}), tma = entryOf("contiguous", {}), few = entryOf("swapped", {});
  EXPECT_TRUE(haveSameCudaBits(roles, tma));
  EXPECT_TRUE(haveSameCudaBits(multistage(16), multistage(64)));
  EXPECT_FALSE(haveSameCudaBits(roles, multistage()));
  EXPECT_FALSE(haveSameCudaBits(few, multistage()));
  EXPECT_FALSE(haveSameCudaBits(few, entryOf("swapped_specialised", {})));
  CudaEntry shared = multistage();
  shared.kernel.integers["splits"] = 4;
  EXPECT_FALSE(haveSameCudaBits(shared, multistage()));
}

TEST(cuda_candidates, all_are_legal_and_have_the_same_bits) {
  MatmulStage stage = wideStage();
  for (CudaArch arch : {CudaArch::Sm80, CudaArch::Sm90a}) {
    CudaStage schedule = cudaSchedule(stage, arch);
    for (size_t i = 0; i < schedule.entries.size(); ++i) {
      std::vector<CudaEntry> found = cudaCandidates(stage, schedule, i, false, "");
      EXPECT_FALSE(found.empty());
      for (size_t c = 0; c < found.size(); c += 7) {
        CudaStage changed = schedule;
        changed.entries[i] = found[c];
        EXPECT_TRUE(bool(checkStage(stage, changed))) << printSchedule({"l", {}, {changed}});
        EXPECT_TRUE(haveSameCudaBits(found[c], schedule.entries[i]));
      }
      EXPECT_GT(cudaCandidates(stage, schedule, i, true, "").size(), found.size());
    }
  }
}

} // namespace
} // namespace moec
