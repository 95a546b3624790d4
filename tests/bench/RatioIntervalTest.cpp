// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Samples whose ratio is known -> intervals: published critical values, coverage, order, too few times.

#include "codegen/bench/RatioInterval.h"

#include <gtest/gtest.h>

#include <random>

using namespace moec;

// Two-sided 5 % critical values of published tables, plus 1.
TEST(RatioInterval, ranks_are_those_of_the_tables) {
  EXPECT_EQ(mannWhitneyRank(3, 3), 0u);
  EXPECT_EQ(mannWhitneyRank(4, 4), 1u);
  EXPECT_EQ(mannWhitneyRank(5, 5), 3u);
  EXPECT_EQ(mannWhitneyRank(7, 12), 19u);
  EXPECT_EQ(mannWhitneyRank(12, 7), 19u);
  EXPECT_EQ(mannWhitneyRank(20, 20), 128u);
  EXPECT_EQ(signedRankRank(5), 0u);
  EXPECT_EQ(signedRankRank(6), 1u);
  EXPECT_EQ(signedRankRank(10), 9u);
  EXPECT_EQ(signedRankRank(20), 53u);
  EXPECT_EQ(mannWhitneyRank(0, 9), 0u);
  EXPECT_EQ(signedRankRank(0), 0u);
}

// Where the exact distribution ends, the approximation goes on without a step.
TEST(RatioInterval, approximation_continues_the_exact_ranks) {
  EXPECT_NEAR(double(mannWhitneyRank(41, 41)) - double(mannWhitneyRank(40, 40)),
              double(mannWhitneyRank(40, 40)) - double(mannWhitneyRank(39, 39)), 4);
  EXPECT_NEAR(double(signedRankRank(41)) - double(signedRankRank(40)),
              double(signedRankRank(40)) - double(signedRankRank(39)), 3);
}

TEST(RatioInterval, ratio_is_of_the_second_to_the_first) {
  std::vector<double> a = {100, 101, 102, 103, 99}, b;
  for (double us : a)
    b.push_back(us * 1.1);
  RatioInterval interval = independentRatio(a, b), inverse = independentRatio(b, a);
  EXPECT_NEAR(interval.ratio, 1.1, 1e-12);
  EXPECT_TRUE(interval.known() && interval.significant());
  EXPECT_GT(interval.low, 1.05);
  EXPECT_LT(interval.high, 1.15);
  EXPECT_NEAR(inverse.low, 1 / interval.high, 1e-12);
  EXPECT_FALSE(independentRatio(a, a).significant());
}

TEST(RatioInterval, too_few_times_have_no_interval) {
  RatioInterval three = independentRatio({1, 2, 3}, {10, 20, 30});
  EXPECT_NEAR(three.ratio, 10, 1e-9);
  EXPECT_FALSE(three.known() || three.significant());
  EXPECT_FALSE(pairedRatio({{1, 2}, {1, 2}, {1, 2}, {1, 2}, {1, 2}}).known());
  EXPECT_TRUE(pairedRatio({{1, 2}, {1, 2}, {1, 2}, {1, 2}, {1, 2}, {1, 2}}).significant());
  EXPECT_TRUE(std::isnan(independentRatio({}, {1}).ratio));
  EXPECT_TRUE(std::isnan(pairedRatio({}).ratio));
}

// One round in which the machine stood still decides nothing.
TEST(RatioInterval, an_outlier_moves_little) {
  std::vector<double> a, b;
  for (int i = 0; i < 12; ++i) {
    a.push_back(1000 + i);
    b.push_back(1000 + (i * 5) % 12);
  }
  b[3] = 50000;
  RatioInterval interval = independentRatio(a, b);
  EXPECT_NEAR(interval.ratio, 1, 0.003);
  EXPECT_FALSE(interval.significant());
}

// Pairs see a difference of 1 % below a drift of 30 %, which hides it from samples.
TEST(RatioInterval, pairs_remove_what_both_have) {
  std::vector<std::pair<double, double>> pairs;
  std::vector<double> a, b;
  std::mt19937 random(7);
  for (int i = 0; i < 12; ++i) {
    double drift = 1000 * (1 + 0.3 * i / 12), noise = double(random() % 1000) * 1e-6 * drift;
    pairs.emplace_back(drift, drift * 1.01 + noise);
    a.push_back(pairs.back().first);
    b.push_back(pairs.back().second);
  }
  EXPECT_TRUE(pairedRatio(pairs).significant());
  EXPECT_NEAR(pairedRatio(pairs).ratio, 1.0105, 5e-4);
  EXPECT_FALSE(independentRatio(a, b).significant());
}

// Of 1000 intervals of equal samples, about 950 hold 1.
TEST(RatioInterval, intervals_cover_95_percent) {
  std::mt19937 random(1);
  std::lognormal_distribution<double> time(6, 0.05);
  int independent = 0, paired = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    std::vector<double> a, b;
    std::vector<std::pair<double, double>> pairs;
    for (int i = 0; i < 12; ++i) {
      a.push_back(time(random));
      b.push_back(time(random));
      pairs.emplace_back(a.back(), b.back());
    }
    independent += !independentRatio(a, b).significant();
    paired += !pairedRatio(pairs).significant();
  }
  EXPECT_NEAR(independent, 950, 25);
  EXPECT_NEAR(paired, 950, 25);
}
