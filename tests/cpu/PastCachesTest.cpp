// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Stores past the caches (out_hint nta): the same bits as ordinary stores, on every instruction set.

#include "CompiledLayer.h"

namespace moec {
namespace {

std::string specOf(const std::string &dtype, int64_t hidden) {
  return R"({"moec": 1, "name": "past", "dtype": ")" + dtype + R"(", "hidden": )" + std::to_string(hidden) +
         R"(, "router": {"top_k": 2}, "experts": {"count": 3, "intermediate": 48}})";
}

std::string scheduleOf(const CpuTarget &target, const std::string &dtype, const std::string &outHint) {
  bool amx = target.isa == Isa::Amx && dtype == "bf16";
  return "schedule past\nstage experts_down " + isaFacts(target.isa).name.str() +
         "\n  rows 1.. panel { block_k = " + (dtype == "f32" ? "4" : "32") +
         (amx ? ", block_m = 16, panel_m = 16" : ", block_m = 1, panel_m = 8") + ", out_hint = " + outHint +
         " } numeric " + (amx ? "amx" : "fma") + "\n";
}

class PastCaches : public testing::TestWithParam<CpuTarget> {};
INSTANTIATE_TEST_SUITE_P(Cpu, PastCaches, testing::ValuesIn(cpuTargets()), targetTestName);

TEST_P(PastCaches, give_the_same_bits) {
  if (!machineRuns(GetParam()))
    GTEST_SKIP() << "this machine has no " << GetParam().name;
  for (const char *dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    auto ordinary = CompiledLayer::make(specOf(dtype, 64), GetParam(), scheduleOf(GetParam(), dtype, "none"));
    auto hinted = CompiledLayer::make(specOf(dtype, 64), GetParam(), scheduleOf(GetParam(), dtype, "nta"));
    ASSERT_TRUE(ordinary && hinted);
    for (int64_t tokens : {1, 9, 40}) {
      std::vector<float> x = ordinary->randomX(tokens);
      CallResult want = ordinary->run(x);
      for (int threads : {1, 2, 3})
        EXPECT_TRUE(want.sameBits(hinted->run(x, {threads, Edge::Back, Workspace::Nan}))) << tokens << " " << threads;
    }
  }
}

} // namespace
} // namespace moec
