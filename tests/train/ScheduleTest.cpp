// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "examples/train/schedule.h"

#include <gtest/gtest.h>

using namespace train;

namespace {

TEST(Schedule, ThreePhases) {
  Schedule s;
  s.steps = 100;
  EXPECT_EQ(plan(s, 0).phase, Phase::warm_up);
  EXPECT_EQ(plan(s, 9).phase, Phase::warm_up);
  EXPECT_EQ(plan(s, 10).phase, Phase::main);
  EXPECT_EQ(plan(s, 84).phase, Phase::main);
  EXPECT_EQ(plan(s, 85).phase, Phase::fine_tuning);
  EXPECT_EQ(plan(s, 99).phase, Phase::fine_tuning);
}

TEST(Schedule, RatesRiseAndFall) {
  Schedule s;
  s.steps = 100;
  EXPECT_NEAR(plan(s, 0).rate, s.rate / 10, 1e-12);
  EXPECT_NEAR(plan(s, 9).rate, s.rate, 1e-12);
  EXPECT_NEAR(plan(s, 9).router_rate, s.router_rate, 1e-12);
  for (int64_t step = 10; step < 99; ++step)
    EXPECT_LT(plan(s, step + 1).rate, plan(s, step).rate);
  EXPECT_NEAR(plan(s, 99).rate, 0, 1e-12);
}

TEST(Schedule, DenseAtFirstThenSparse) {
  Schedule s;
  s.steps = 1000;
  EXPECT_EQ(plan(s, 0).routing.top_k, 8);
  EXPECT_EQ(plan(s, 99).routing.top_k, 2);
  EXPECT_EQ(plan(s, 999).routing.top_k, 2);
  for (int64_t step = 0; step < 99; ++step) {
    int change = plan(s, step).routing.top_k - plan(s, step + 1).routing.top_k;
    EXPECT_TRUE(change == 0 || change == 1) << step;
  }
}

TEST(Schedule, RoutingOfThePhases) {
  Schedule s;
  s.steps = 1000;
  Step warm = plan(s, 50), main = plan(s, 500), end = plan(s, 900);
  EXPECT_EQ(warm.routing.capacity_factor, s.warm_up_capacity);
  EXPECT_FALSE(warm.routing.own_capacity || warm.adapt_capacity || warm.revive);
  EXPECT_TRUE(main.routing.own_capacity && main.adapt_capacity);
  EXPECT_EQ(end.routing.capacity_factor, 0);
  EXPECT_FALSE(end.routing.own_capacity || end.adapt_capacity || end.revive);
  EXPECT_EQ(warm.routing.noise, s.noise);
  EXPECT_EQ(main.routing.noise, s.noise);
  EXPECT_EQ(end.routing.noise, 0);
  EXPECT_EQ(end.bias_rate, 0);
  EXPECT_TRUE(plan(s, 499).revive);
  EXPECT_FALSE(plan(s, 500).revive);
}

// What finetune asks for.
TEST(Schedule, FineTuningAlone) {
  Schedule s;
  s.steps = 10, s.warm_up = 0, s.fine_tuning = 1;
  for (int64_t step = 0; step < 10; ++step) {
    EXPECT_EQ(plan(s, step).phase, Phase::fine_tuning);
    EXPECT_EQ(plan(s, step).routing.top_k, 2);
  }
  EXPECT_NEAR(plan(s, 0).rate, s.rate, s.rate * 0.05);
}

} // namespace
