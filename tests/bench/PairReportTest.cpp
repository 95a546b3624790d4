// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pairs of rounds with known times and probes -> which count, ratios, tables, JSON.

#include "codegen/bench/PairReport.h"

#include "llvm/Support/JSON.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

using namespace moec;

namespace {

BenchRound round(double us, double probe = 1) {
  BenchRound r;
  r.us = us;
  r.before = {100, 10};
  r.after = {100 * probe, 10 * probe};
  return r;
}

PairRun runOf(size_t pairs, double factor) {
  PairRun run;
  run.a.name = run.b.name = "tiny";
  run.a.isa = run.b.isa = "avx2";
  run.a.skew = run.b.skew = "zipf";
  run.a.weightType = run.b.weightType = "f32";
  run.a.packageHash = std::string(64, 'a');
  run.b.packageHash = std::string(64, 'b');
  run.sourceB.schedule = "b.txt";
  run.peak = "AVX2 f32 FMA";
  run.pattern = "one walk";
  run.ceilings = {100, 10};
  run.series.resize(1);
  run.series[0].tokens = 32;
  for (size_t i = 0; i < pairs; ++i) // a drift that both see
    run.series[0].pairs.emplace_back(round(100 + 10 * double(i)), round(factor * (100 + 10 * double(i))));
  return run;
}

std::string textOf(const PairRun &run, bool json) {
  std::ostringstream os;
  writePairReport(os, run, json);
  return os.str();
}

} // namespace

TEST(PairReport, a_pair_counts_if_both_calls_do) {
  PairRun run = runOf(8, 1.1);
  run.series[0].pairs[2].first.after = {84, 10};
  run.series[0].pairs[5].second.before = {100, 8};
  EXPECT_EQ(acceptedPairs(run.series[0], run.ceilings).size(), 6u);
  RatioRow row = ratioOf(run, run.series[0]);
  EXPECT_EQ(row.roundsA, 6u);
  EXPECT_EQ(row.skew, "zipf");
  EXPECT_NEAR(row.ratio.ratio, 1.1, 1e-12);
  EXPECT_TRUE(row.ratio.significant());
  EXPECT_EQ(verdictOf(row), "10.0 % slower");
}

TEST(PairReport, without_enough_pairs_there_is_no_verdict) {
  PairRun few = runOf(5, 1.1), none = runOf(1, 1.1);
  none.series[0].pairs[0].first.before = {1, 1};
  EXPECT_EQ(verdictOf(ratioOf(few, few.series[0])), "too few pairs for an interval");
  RatioRow row = ratioOf(none, none.series[0]);
  EXPECT_EQ(verdictOf(row), "no pair accepted");
  EXPECT_TRUE(std::isnan(row.usA) && std::isnan(row.ratio.ratio));
}

TEST(PairReport, table_names_both_layers) {
  PairRun run = runOf(8, 1.1);
  run.sharedWeights = true;
  std::string text = textOf(run, false);
  EXPECT_EQ(text.find("a: tiny on avx2, f32 weights, package aaaaaaaaaaaa\n"
                      "b: tiny on avx2, f32 weights, package bbbbbbbbbbbb, schedule b.txt\n\n"),
            0u)
      << text;
  EXPECT_NE(text.find("| 32 | 1 | zipf | 135.0 | 148.5 | 1.1000 | 1.1000 .. 1.1000 | 10.0 % slower | 8, 8 |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("8 pairs were taken"), std::string::npos);
  EXPECT_NE(text.find("Both read the same packed weights."), std::string::npos);
  run.b.packageHash = run.a.packageHash;
  EXPECT_NE(textOf(run, false).find("note: a and b are the same package"), std::string::npos);
}

TEST(PairReport, json_holds_every_pair) {
  PairRun run = runOf(8, 2);
  run.series[0].pairs[0].second.after = {1, 1};
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(textOf(run, true));
  ASSERT_TRUE(bool(parsed));
  const llvm::json::Object &root = *parsed->getAsObject();
  EXPECT_EQ(root.getInteger("moec_against"), 1);
  EXPECT_EQ(root.getObject("a")->get("schedule"), nullptr);
  EXPECT_EQ(root.getObject("b")->getString("schedule"), llvm::StringRef("b.txt"));
  EXPECT_EQ(root.getBoolean("shared_weights"), false);
  const llvm::json::Object &result = *(*root.getArray("results"))[0].getAsObject();
  EXPECT_EQ(result.getInteger("pairs"), 8);
  EXPECT_EQ(result.getInteger("rounds_a"), 7);
  EXPECT_EQ(result.getNumber("ratio"), 2.0);
  ASSERT_EQ(result.getArray("pair_us")->size(), 7u);
  EXPECT_EQ((*(*result.getArray("pair_us"))[0].getAsArray())[1].getAsNumber(), 220.0);
}

TEST(PairReport, kept_pairs_are_bounded) {
  PairRun run = runOf(1000, 1);
  std::vector<std::pair<double, double>> pairs = acceptedPairs(run.series[0], run.ceilings);
  ASSERT_EQ(pairs.size(), 400u);
  EXPECT_EQ(pairs[2].first - pairs[0].first, 50);
}
