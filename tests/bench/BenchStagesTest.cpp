// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rounds with known times of steps -> medians, shares, tables; a layer whose experts share storage.

#include "codegen/bench/BenchStages.h"
#include "codegen/bench/AliasedWeights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <sstream>

using namespace moec;

namespace {

// Every step took `times` as long on the clock as on the processor.
BenchRound round(std::vector<double> steps, double probe = 1, double times = 1) {
  BenchRound r;
  for (double us : steps) {
    r.steps.push_back({us * times, us});
    r.us += us * times;
  }
  r.before = {100 * probe, 10 * probe};
  r.after = {100, 10};
  return r;
}

BenchRun runOf(std::vector<BenchRound> rounds) {
  BenchRun run;
  run.name = "tiny";
  run.isa = "avx2";
  run.ceilings = {100, 10};
  run.steps[BenchPass::Forward] = {
      {"router", "matmul", true}, {"experts_down", "matmul", false}, {"combine", "rows", true}};
  run.series.resize(1);
  run.series[0].tokens = 4;
  run.series[0].rounds = std::move(rounds);
  return run;
}

} // namespace

TEST(BenchStages, figures_are_medians_of_the_rounds_that_count) {
  BenchRun run = runOf({round({1, 8, 1}), round({3, 16, 1}), round({2, 6, 2}), round({900, 1, 99}, 0.5)});
  std::vector<StageFigures> figures = stageFigures(run.series[0], run.ceilings);
  ASSERT_EQ(figures.size(), 3u);
  EXPECT_DOUBLE_EQ(figures[0].usMedian, 2);
  EXPECT_DOUBLE_EQ(figures[0].share, 0.15); // of 0.1, 0.15 and 0.2
  EXPECT_DOUBLE_EQ(figures[1].share, 0.8);
  StageFigures routing = routingFigures(run, run.series[0]);
  EXPECT_DOUBLE_EQ(routing.usMedian, 4);
  EXPECT_DOUBLE_EQ(routing.share, 0.2);
}

// A machine that stands still in the long step of every round does not change the shares.
TEST(BenchStages, shares_are_of_processor_time) {
  BenchRound busy = round({1, 8, 1});
  busy.steps[1].us = 80;
  BenchRun run = runOf({busy});
  std::vector<StageFigures> figures = stageFigures(run.series[0], run.ceilings);
  EXPECT_DOUBLE_EQ(figures[1].usMedian, 80);
  EXPECT_DOUBLE_EQ(figures[1].cpuMedian, 8);
  EXPECT_DOUBLE_EQ(figures[1].share, 0.8);
  for (StepTime &step : run.series[0].rounds[0].steps)
    step.cpuUs = 0; // several threads: there is no such time
  EXPECT_NEAR(stageFigures(run.series[0], run.ceilings)[1].share, 80.0 / 82, 1e-12);
}

TEST(BenchStages, nothing_is_reported_without_an_accepted_round) {
  BenchRun run = runOf({round({1, 8, 1}, 0.5)});
  EXPECT_TRUE(std::isnan(stageFigures(run.series[0], run.ceilings)[0].share));
  std::ostringstream os;
  writeReport(os, run, "md");
  std::string text = os.str();
  EXPECT_NE(text.find("| 4 | experts_down | matmul | - | - | - |"), std::string::npos) << text;
  EXPECT_NE(text.find("| 4 | **all but expert matmuls** | | - | - | - |"), std::string::npos) << text;
  os.str("");
  writeReport(os, run, "csv");
  text = os.str();
  EXPECT_NE(text.find("tiny,avx2,1,4,router,matmul,yes,,,,1,0,forward\n"), std::string::npos) << text;
}

TEST(BenchStages, clock_gives_each_step_its_own_time) {
  StageClock clock(3, true);
  moec_probe probe = clock.probe();
  auto tell = [&](int32_t event, int32_t step) {
    moec_probe_event told = {};
    told.event = event;
    told.step = step;
    probe.on_event(probe.context, &told);
  };
  auto wait = [] {
    for (auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
         std::chrono::steady_clock::now() < end;) {
    }
  };
  tell(MOEC_PROBE_STEP_BEGIN, 0);
  wait();
  tell(MOEC_PROBE_STEP_END, 0);
  tell(MOEC_PROBE_STEP_BEGIN, 2); // 1 is not asked for
  tell(MOEC_PROBE_STEP_END, 2);
  wait();
  std::vector<StepTime> times = clock.take();
  EXPECT_GE(times[0].us, 200);
  EXPECT_GT(times[0].cpuUs, 0);
  EXPECT_LT(times[0].cpuUs, times[0].us + 50);
  EXPECT_EQ(times[1].us, 0);
  EXPECT_LT(times[2].us, times[0].us);
  for (const StepTime &time : clock.take())
    EXPECT_EQ(time.us, 0);
  StageClock several(2, false);
  probe = several.probe();
  tell(MOEC_PROBE_STEP_BEGIN, 0);
  wait();
  tell(MOEC_PROBE_STEP_END, 0);
  EXPECT_EQ(several.take()[0].cpuUs, 0);
}

TEST(BenchStages, tables_name_every_step) {
  BenchRun run = runOf({round({1, 8, 1})});
  std::ostringstream os;
  writeReport(os, run, "csv");
  EXPECT_EQ(os.str(), "name,isa,threads,tokens,step,kind,routing,us_median,cpu_us_median,share,rounds,rounds_accepted,"
                      "pass\n"
                      "tiny,avx2,1,4,router,matmul,yes,1,1,0.1,1,1,forward\n"
                      "tiny,avx2,1,4,experts_down,matmul,no,8,8,0.8,1,1,forward\n"
                      "tiny,avx2,1,4,combine,rows,yes,1,1,0.1,1,1,forward\n");
  os.str("");
  run.distinctExperts = 2;
  run.experts = 8;
  writeReport(os, run, "md");
  std::string text = os.str();
  EXPECT_NE(os.str().find("| 4 | experts_down | matmul | 8.0 | 8.0 | 80.00 % |"), std::string::npos) << text;
  EXPECT_NE(os.str().find("| 4 | **all but expert matmuls** | | 2.0 | 2.0 | 20.00 % |"), std::string::npos) << text;
  EXPECT_NE(os.str().find("Experts share storage: 2 of 8 have their own."), std::string::npos) << text;
}

// Each pass has the steps of its own plan, and its rows say which it is.
TEST(BenchStages, passes_have_their_own_steps) {
  BenchRun run = runOf({round({1, 8, 1})});
  run.series[0].pass = BenchPass::Saving;
  run.steps[BenchPass::Saving] = run.steps[BenchPass::Forward];
  run.steps[BenchPass::Backward] = {{"experts_down_dgrad", "matmul", false}, {"rows_backward", "rows", true}};
  run.series.push_back({4, BenchPass::Backward, {round({6, 2})}});
  std::ostringstream os;
  writeReport(os, run, "md");
  std::string text = os.str();
  EXPECT_NE(text.find("| 4 | forward that saves | experts_down | matmul | 8.0 | 8.0 | 80.00 % |"), std::string::npos);
  EXPECT_NE(text.find("| 4 | backward | experts_down_dgrad | matmul | 6.0 | 6.0 | 75.00 % |"), std::string::npos);
  EXPECT_NE(text.find("| 4 | backward | **all but expert matmuls** | | 2.0 | 2.0 | 25.00 % |"), std::string::npos)
      << text;
  os.str("");
  writeReport(os, run, "csv");
  EXPECT_NE(os.str().find("tiny,avx2,1,4,rows_backward,rows,yes,2,2,0.25,1,1,backward\n"), std::string::npos);
}

TEST(AliasedWeights, only_the_first_have_pages_of_their_own) {
  PlanTables plan;
  plan.header.num_experts = 8;
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_PANELS;
  weight.groups = 8;
  weight.offset = 4096;
  weight.bytes = 8 * 6000; // no multiple of a page: the page where the kept ones end is kept whole
  plan.weights.push_back(weight);
  plan.header.packed_bytes = 4096 + 8 * 6000;
  AliasedWeights weights(plan, 2);
  ASSERT_TRUE(weights.ready());
  ASSERT_EQ(weights.size(), plan.header.packed_bytes);
  auto *bytes = static_cast<unsigned char *>(weights.data());
  for (size_t i = 0; i < weights.size(); ++i)
    bytes[i] = static_cast<unsigned char>(i / 6000 + 1);
  for (size_t i = 0; i < 4096 + 2 * 6000; ++i)
    ASSERT_EQ(bytes[i], static_cast<unsigned char>(i / 6000 + 1)) << i;
}

TEST(AliasedWeights, pages_repeat_their_block) {
  RepeatedPages pages(5 * 4096 + 100, 8192);
  ASSERT_TRUE(pages.data());
  ASSERT_EQ(pages.blockBytes(), 8192u);
  auto *bytes = static_cast<unsigned char *>(pages.data());
  std::memset(bytes, 7, 4096);
  std::memset(bytes + 4096, 9, 4096);
  EXPECT_EQ(bytes[2 * 4096], 7);
  EXPECT_EQ(bytes[5 * 4096 + 99], 9);
}

static PlanTables planOf(uint64_t bytes) {
  PlanTables plan;
  plan.header.num_experts = 64;
  plan.header.packed_bytes = bytes;
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_PANELS;
  weight.groups = 64;
  weight.bytes = bytes;
  plan.weights.push_back(weight);
  return plan;
}

// What the other layer takes is not there for this one.
TEST(AliasedWeights, layers_in_one_process_share_what_there_is) {
  const int64_t large = int64_t(1) << 60, small = 1 << 20;
  EXPECT_EQ(distinctExperts(planOf(uint64_t(small)), small), 0);
  EXPECT_GT(distinctExperts(planOf(uint64_t(small)), large), 0);
  PlanTables plan = planOf(uint64_t(64) << 30); // one GiB per expert
  int64_t alone = distinctExperts(plan, large), beside = distinctExperts(plan, large, 2);
  EXPECT_LE(alone, 4);
  EXPECT_GE(beside, 1);
  EXPECT_LE(beside, alone);
  EXPECT_LE(distinctExperts(plan, large, 1000000), 1);
}

TEST(AliasedWeights, only_the_same_layer_in_the_same_layout_shares) {
  PlanTables a = planOf(6400), b = planOf(6400);
  EXPECT_TRUE(samePackedWeights(a, b));
  b.weights[0].layout = MOEC_LAYOUT_PANELS + 1;
  EXPECT_FALSE(samePackedWeights(a, b));
  b = planOf(6400);
  b.header.spec_hash[31] = 1;
  EXPECT_FALSE(samePackedWeights(a, b));
  b = planOf(6400);
  b.weights.push_back(b.weights[0]);
  EXPECT_FALSE(samePackedWeights(a, b));
}
