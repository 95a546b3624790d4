// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Any number of experts and choices: against the oracle, with exact ties, and in a time that grows with E no faster
// than linearly. MOEC_ALL_COUNTS=1 in the environment runs every E with every k in 1 .. min(E, 32) on every instruction
// set:
//
//     MOEC_ALL_COUNTS=1 build/tests/cpu/cpu-tests --gtest_filter='*ExpertCounts*'

#include "CompiledLayer.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <set>

namespace moec {
namespace {

const int64_t expertCounts[] = {1, 2, 3, 7, 8, 60, 64, 96, 127, 128, 129, 160, 256, 257, 384, 512, 896, 1025, 4096};

bool everything() { return std::getenv("MOEC_ALL_COUNTS"); }

// k of one E: all up to 32, or the ends and a few between.
std::set<int64_t> choicesOf(int64_t experts, bool few) {
  std::set<int64_t> choices;
  int64_t most = std::min<int64_t>(experts, 32);
  for (int64_t k = 1; everything() && k <= most; ++k)
    choices.insert(k);
  if (choices.empty())
    choices = few ? std::set<int64_t>{std::min<int64_t>(2, most), most}
                  : std::set<int64_t>{1, std::min<int64_t>(3, most), most};
  return choices;
}

std::string layerOf(int64_t experts, int64_t k, const std::string &dtype) {
  return R"({"moec": 1, "name": "counted", "dtype": ")" + dtype +
         R"(", "hidden": 9, "router": {"logit_dtype": "f32", "normalize": {"kind": "sum"}, "top_k": )" +
         std::to_string(k) + R"(}, "experts": {"count": )" + std::to_string(experts) + R"(, "intermediate": 5}})";
}

class ExpertCounts : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, ExpertCounts, testing::ValuesIn(cpuTargets()), targetTestName);

// All logits are zero: the lower ids win and weigh the same.
void checkTies(CompiledLayer &layer, int64_t tokens, int64_t k) {
  layer.fill("router.weight", 0);
  layer.pack();
  CallResult tied = layer.run(layer.randomX(tokens));
  for (int64_t i = 0; i < tokens * k; ++i) {
    ASSERT_EQ(tied.ids[size_t(i)], i % k) << "choice " << i;
    ASSERT_NEAR(tied.weights[size_t(i)], 1.0 / double(k), 1e-6) << "choice " << i;
  }
  for (int64_t expert = 0; expert < layer.spec.experts.count; ++expert)
    ASSERT_EQ(tied.counts[size_t(expert)], expert < k ? tokens : 0) << "expert " << expert;
}

TEST_P(ExpertCounts, counts_agree_with_oracle_and_ties) {
  bool tiles = GetParam().emulated;
  for (int64_t experts : expertCounts)
    for (int64_t k : choicesOf(experts, tiles)) {
      SCOPED_TRACE("E " + std::to_string(experts) + " k " + std::to_string(k));
      auto layer = CompiledLayer::make(layerOf(experts, k, tiles ? "bf16" : "f32"), GetParam());
      ASSERT_TRUE(layer);
      std::vector<float> x = layer->randomX(13);
      EXPECT_EQ(disagreement(layer->spec, layer->run(x, {2}), layer->oracle(x)), "");
      checkTies(*layer, 13, k);
    }
}

double processorTime() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// Shortest of several calls on one thread: router, top-k, dispatch, and experts that cost next to nothing.
double routingTime(int64_t experts, const CpuTarget &target) {
  auto layer = CompiledLayer::make(layerOf(experts, 8, "f32"), target);
  if (!layer)
    return 0;
  std::vector<float> x = layer->randomX(256);
  double best = 1e9;
  for (int i = 0; i < 12; ++i) {
    double begin = processorTime();
    layer->run(x, {1, Edge::Back, Workspace::Previous, false});
    best = std::min(best, processorTime() - begin);
  }
  return best;
}

// 8 times the experts take 7 times as long (0.57, 1.6 and 10.7 ms of an EPYC core of the Zen 4 family, 2026-11-26);
// they may take 20 times as long, for caches and noise. Work that grows with E² would take 64 times as long.
TEST(ExpertCountsGrowth, time_grows_no_faster_than_linearly) {
  CpuTarget best = cpuTargets().front();
  for (const CpuTarget &target : cpuTargets())
    if (!target.emulated && machineRuns(target))
      best = target;
  double previous = 0;
  for (int64_t experts : {64, 512, 4096}) {
    double seconds = routingTime(experts, best);
    RecordProperty("E" + std::to_string(experts) + "_us", int(seconds * 1e6));
    if (previous > 0)
      EXPECT_LT(seconds, 20 * previous) << "E " << experts;
    previous = seconds;
  }
}

} // namespace
} // namespace moec
