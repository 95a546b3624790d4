// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rounds with known times, work and probes -> which count, and the figures that follow.

#include "codegen/bench/BenchReport.h"

#include <gtest/gtest.h>

using namespace moec;

static BenchRound round(double us, double probe) {
  BenchRound r;
  r.us = us;
  r.work.flops = 1e9;       // 1 s at 1 GFLOP/s
  r.work.weightBytes = 1e8; // 10 ms at 10 GB/s
  r.before = {100 * probe, 10 * probe};
  r.after = {100, 10};
  return r;
}

TEST(BenchReport, rule_rejects_slow_probes) {
  ProbeResult best{100, 10};
  EXPECT_TRUE(accepted(round(1, 1.0), best));
  EXPECT_TRUE(accepted(round(1, 0.86), best));
  EXPECT_FALSE(accepted(round(1, 0.84), best));
}

TEST(BenchReport, figures_are_of_accepted_rounds) {
  BenchSeries series;
  series.tokens = 4;
  for (double us : {40000.0, 20000.0, 30000.0})
    series.rounds.push_back(round(us, 1.0));
  series.rounds.push_back(round(1e6, 0.5));
  BenchFigures f = figuresOf(series, {100, 10});
  EXPECT_EQ(f.accepted, 3u);
  EXPECT_EQ(f.rounds, 4u);
  EXPECT_DOUBLE_EQ(f.usMedian, 30000);
  EXPECT_DOUBLE_EQ(f.usLow, 20000);
  EXPECT_DOUBLE_EQ(f.usHigh, 40000);
  EXPECT_NEAR(f.boundUs, 10000, 1e-6); // both bounds are 10 ms
  EXPECT_NEAR(f.share, 1.0 / 3, 1e-9);
  EXPECT_NEAR(f.gflops, 1e9 / 0.03 * 1e-9, 1e-6);
  EXPECT_NEAR(f.gbps, 1e8 / 0.03 * 1e-9, 1e-6);
}

TEST(BenchReport, figures_without_accepted_rounds_are_of_all) {
  BenchSeries series;
  series.rounds = {round(10, 0.1), round(20, 0.1)};
  BenchFigures f = figuresOf(series, {100, 10});
  EXPECT_EQ(f.accepted, 0u);
  EXPECT_DOUBLE_EQ(f.usMedian, 15);
}

TEST(BenchReport, bound_is_the_larger_one) {
  BenchSeries series;
  series.rounds = {round(40000, 1)};
  EXPECT_NEAR(figuresOf(series, {50, 10}).boundUs, 20000, 1e-6);
  EXPECT_TRUE(figuresOf(series, {50, 10}).computeBound);
  EXPECT_NEAR(figuresOf(series, {100, 5}).boundUs, 20000, 1e-6);
  EXPECT_FALSE(figuresOf(series, {100, 5}).computeBound);
}

TEST(BenchReport, csv_prints_one_row_per_t) {
  BenchRun run;
  run.name = "tiny";
  run.isa = "avx2";
  run.ceilings = {100, 10};
  run.series.resize(1);
  run.series[0].tokens = 4;
  run.series[0].rounds = {round(20000, 1)};
  std::string text;
  llvm::raw_string_ostream os(text);
  writeReport(os, run, "csv");
  EXPECT_EQ(os.str(), "name,isa,threads,tokens,us_median,us_low,us_high,gflops,gbps,bound_us,share_of_bound,rounds,"
                      "rounds_accepted,compute_gflops,read_gbps\n"
                      "tiny,avx2,1,4,20000,20000,20000,50,5,10000,0.5,1,1,100,10\n");
}
