// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rounds with known times, work and probes -> which count, and the figures that follow.

#include "codegen/bench/BenchReport.h"

#include "llvm/Support/JSON.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

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

TEST(BenchReport, nothing_is_reported_without_an_accepted_round) {
  BenchSeries series;
  series.rounds = {round(10, 0.1), round(20, 0.1)};
  BenchFigures f = figuresOf(series, {100, 10});
  EXPECT_EQ(f.accepted, 0u);
  EXPECT_EQ(f.rounds, 2u);
  EXPECT_EQ(f.withheld, Withheld::NoRound);
  for (double value : {f.usMedian, f.usLow, f.usHigh, f.gflops, f.gbps, f.share})
    EXPECT_TRUE(std::isnan(value));
  EXPECT_NEAR(f.boundUs, 10000, 1e-6); // what the calls must do does not depend on their times
  EXPECT_TRUE(acceptedTimes(series, {100, 10}).empty());
}

TEST(BenchReport, a_share_above_one_is_not_reported) {
  BenchSeries series;
  series.rounds = {round(9999, 1)}; // the bound is 10000
  BenchFigures f = figuresOf(series, {100, 10});
  EXPECT_EQ(f.withheld, Withheld::AboveCeiling);
  EXPECT_TRUE(std::isnan(f.share) && std::isnan(f.boundUs));
  EXPECT_DOUBLE_EQ(f.usMedian, 9999);
  series.rounds = {round(10000, 1)};
  EXPECT_EQ(figuresOf(series, {100, 10}).withheld, Withheld::Nothing);
}

TEST(BenchReport, kept_times_are_bounded_and_evenly_spaced) {
  BenchSeries series;
  for (int i = 0; i < 1000; ++i)
    series.rounds.push_back(round(20000 + i, i % 2 ? 1.0 : 0.5));
  std::vector<double> all = acceptedTimes(series, {100, 10}, 1000), few = acceptedTimes(series, {100, 10}, 50);
  ASSERT_EQ(all.size(), 500u);
  EXPECT_EQ(all[0], 20001);
  ASSERT_EQ(few.size(), 50u);
  EXPECT_EQ(few[1] - few[0], 20);
  EXPECT_EQ(few[49] - few[48], 20);
  EXPECT_EQ(acceptedTimes(series, {100, 10}).size(), 400u);
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
  std::ostringstream os;
  writeReport(os, run, "csv");
  EXPECT_EQ(os.str(), "name,isa,threads,tokens,us_median,us_low,us_high,gflops,gbps,bound_us,share_of_bound,rounds,"
                      "rounds_accepted,compute_gflops,read_gbps,reason,pass\n"
                      "tiny,avx2,1,4,20000,20000,20000,50,5,10000,0.5,1,1,100,10,,forward\n");
}

static BenchRun withheldRun() {
  BenchRun run;
  run.name = "tiny";
  run.isa = "avx2";
  run.ceilings = {100, 10};
  run.series.resize(2);
  run.series[0].tokens = 4;
  run.series[0].rounds = {round(5000, 1)};
  run.series[1].tokens = 8;
  run.series[1].rounds = {round(20000, 0.5)};
  return run;
}

static std::string reportOf(const BenchRun &run, const char *format) {
  std::ostringstream os;
  writeReport(os, run, format);
  return os.str();
}

TEST(BenchReport, tables_have_a_dash_and_a_reason_for_what_is_withheld) {
  std::string table = reportOf(withheldRun(), "md");
  EXPECT_NE(
      table.find("| 4 | 5000.0 | 5000.0 .. 5000.0 | 200.0 | 20.00 | - | - (above the ceiling: probe again) | 1 of 1 "
                 "|\n"),
      std::string::npos)
      << table;
  EXPECT_NE(table.find("| 8 | - | - | - | - | 10000.0 (read) | - (no round accepted) | 0 of 1 |\n"), std::string::npos)
      << table;
  std::string csv = reportOf(withheldRun(), "csv");
  EXPECT_NE(csv.find("tiny,avx2,1,4,5000,5000,5000,200,20,,,1,1,100,10,above the ceiling: probe again,forward\n"
                     "tiny,avx2,1,8,,,,,,10000,,1,0,100,10,no round accepted,forward\n"),
            std::string::npos)
      << csv;
}

TEST(BenchReport, a_run_of_several_passes_says_which) {
  BenchRun run = withheldRun();
  EXPECT_TRUE(run.isOfForward());
  EXPECT_EQ(reportOf(run, "md").find("pass"), std::string::npos);
  run.series[1].tokens = 4;
  run.series[1].pass = BenchPass::Backward;
  run.gradientType = "bf16";
  EXPECT_FALSE(run.isOfForward());
  std::string table = reportOf(run, "md");
  EXPECT_EQ(table.find("| T | pass | time, us |"), 0u) << table;
  EXPECT_NE(table.find("\n| 4 | forward | 5000.0 |"), std::string::npos) << table;
  EXPECT_NE(table.find("\n| 4 | backward | - |"), std::string::npos) << table;
  EXPECT_NE(table.find("those of matrices in bf16"), std::string::npos) << table;
  EXPECT_NE(reportOf(run, "csv").find(",no round accepted,backward\n"), std::string::npos);
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(reportOf(run, "json"));
  ASSERT_TRUE(bool(parsed));
  const llvm::json::Array &results = *parsed->getAsObject()->getArray("results");
  EXPECT_EQ(results[0].getAsObject()->getString("pass"), llvm::StringRef("forward"));
  EXPECT_EQ(results[1].getAsObject()->getString("pass"), llvm::StringRef("backward"));
  EXPECT_EQ(parsed->getAsObject()->getObject("types")->getString("gradients"), llvm::StringRef("bf16"));
}

TEST(BenchReport, json_has_null_and_a_reason_for_what_is_withheld) {
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(reportOf(withheldRun(), "json"));
  ASSERT_TRUE(bool(parsed));
  const llvm::json::Array &results = *parsed->getAsObject()->getArray("results");
  const llvm::json::Object &above = *results[0].getAsObject(), &none = *results[1].getAsObject();
  // not getNull(): compilers disagree on how an optional<nullptr_t> is returned
  auto isNull = [](const llvm::json::Object &object, const char *key) {
    const llvm::json::Value *value = object.get(key);
    return value && value->kind() == llvm::json::Value::Null;
  };
  EXPECT_TRUE(isNull(above, "share_of_bound") && isNull(above, "bound_us"));
  EXPECT_EQ(above.getNumber("us_median"), 5000.0);
  EXPECT_EQ(above.getString("reason"), llvm::StringRef("above the ceiling: probe again"));
  EXPECT_EQ(above.getArray("round_us")->size(), 1u);
  for (const char *key : {"us_median", "us_low", "us_high", "gflops", "gbps", "share_of_bound"})
    EXPECT_TRUE(isNull(none, key)) << key;
  EXPECT_EQ(none.getString("reason"), llvm::StringRef("no round accepted"));
  EXPECT_TRUE(none.getArray("round_us")->empty());
  EXPECT_EQ(none.getInteger("rounds_rejected"), 1);
}

// One line holds all that makes its figure reproducible.
TEST(BenchReport, every_line_says_what_its_figure_depends_on) {
  BenchRun run = withheldRun();
  run.moecVersion = "0.1.0";
  run.specHash = std::string(64, 'a');
  run.packageHash = std::string(64, 'b');
  run.date = "2026-11-23T14:05:59Z";
  run.inputType = run.outputType = "f32";
  run.weightType = "bf16";
  run.machine.vendor = "AuthenticAMD";
  run.machine.brand = "AMD \xff EPYC"; // no valid text, which JSON must be
  run.machine.flags = {"avx2", "avx512_bf16"};
  run.machine.logicalCpus = 2;
  std::string text = reportOf(run, "jsonl");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(text.substr(0, text.find('\n')));
  ASSERT_TRUE(bool(parsed));
  const llvm::json::Object &line = *parsed->getAsObject();
  EXPECT_EQ(line.getInteger("moec_bench"), 1);
  EXPECT_EQ(line.getInteger("tokens"), 4);
  EXPECT_EQ(line.getString("moec_version"), llvm::StringRef("0.1.0"));
  EXPECT_EQ(line.getString("spec_sha256"), llvm::StringRef(run.specHash));
  EXPECT_EQ(line.getString("package_sha256"), llvm::StringRef(run.packageHash));
  EXPECT_EQ(line.getString("date"), llvm::StringRef(run.date));
  EXPECT_EQ(line.getObject("types")->getString("weight"), llvm::StringRef("bf16"));
  EXPECT_EQ(line.getObject("machine")->getInteger("logical_cpus"), 2);
  EXPECT_EQ(line.getObject("machine")->getArray("flags")->size(), 2u);
  EXPECT_EQ(line.getObject("ceilings")->getNumber("read_gbps"), 10.0);
}

TEST(BenchReport, dates_are_utc) {
  std::string date = utcDate();
  ASSERT_EQ(date.size(), 20u);
  EXPECT_EQ(date.substr(0, 2), "20");
  EXPECT_EQ(date[10], 'T');
  EXPECT_EQ(date.back(), 'Z');
}
