// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hand-made routings -> counts, entropy, balance, labels and warnings that follow from the formulas.

#include "codegen/check/RoutingStats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace moec;

namespace {

RoutingRecord record(int64_t choices, std::vector<int32_t> ids) {
  RoutingRecord r;
  r.choices = choices;
  r.tokens = int64_t(ids.size()) / choices;
  r.ids = std::move(ids);
  return r;
}

RoutingStats statsOf(int64_t experts, const RoutingRecord &r) {
  RoutingStats stats(experts);
  Result<> added = stats.add(r);
  EXPECT_TRUE(added) << added.error().message;
  return stats;
}

// Token t chooses K experts from t * step on.
RoutingRecord cyclic(int64_t tokens, int64_t choices, int64_t experts, int64_t used) {
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < choices; ++j)
      ids.push_back(int32_t((t + j) % std::min(used, experts)));
  return record(choices, ids);
}

bool warns(const RoutingStats &stats, const std::string &code) {
  for (const Diagnostic &warning : warningsOf(stats))
    if (warning.code == code)
      return true;
  return false;
}

} // namespace

TEST(RoutingStats, counts_choices_and_drops) {
  RoutingRecord r = record(2, {0, 1, 0, 2, -1, 0});
  r.weights = {0.5f, 0.5f, 1, 0, 0, 1};
  RoutingStats stats = statsOf(4, r);
  EXPECT_EQ(stats.tokens, 3);
  EXPECT_EQ(stats.none, 1);
  EXPECT_EQ(stats.chosen, (std::vector<int64_t>{3, 1, 1, 0}));
  EXPECT_EQ(stats.dropped, (std::vector<int64_t>{0, 0, 1, 0}));
  EXPECT_TRUE(stats.dropsKnown);
  EXPECT_EQ(summaryOf(stats).dead, 1);
  EXPECT_EQ(summaryOf(stats).busiest, 0);
  EXPECT_DOUBLE_EQ(summaryOf(stats).largest, 1);
  r.kept = {1, 1, 1};
  EXPECT_EQ(statsOf(4, r).dropped, (std::vector<int64_t>{2, 0, 0, 0})); // the run's own count wins over weights
  EXPECT_FALSE(statsOf(4, record(1, {0})).dropsKnown);
}

TEST(RoutingStats, records_add_up) {
  RoutingStats stats(2);
  ASSERT_TRUE(stats.add(record(1, {0, 1})));
  ASSERT_TRUE(stats.add(record(1, {1, 1})));
  EXPECT_EQ(stats.chosen, (std::vector<int64_t>{1, 3}));
  Result<> added = stats.add(record(2, {0, 1}));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, "E-ROUTINGS");
  EXPECT_EQ(added.error().message, "ids has 2 choices, earlier records have 1");
  EXPECT_EQ(stats.tokens, 4);
}

TEST(RoutingStats, summary_follows_the_formulas) {
  RoutingSummary even = summaryOf(statsOf(8, cyclic(80, 2, 8, 8)));
  EXPECT_NEAR(even.entropy, std::log(8), 1e-12);
  EXPECT_NEAR(even.balance, 1, 1e-12);
  EXPECT_NEAR(even.cv, 0, 1e-12);
  EXPECT_DOUBLE_EQ(even.largest, 0.25);
  EXPECT_DOUBLE_EQ(even.even, 0.25);
  EXPECT_DOUBLE_EQ(summaryOf(statsOf(4, record(2, {0, -1, 1, -1}))).even, 0.25); // one choice of two names an expert
  RoutingSummary one = summaryOf(statsOf(8, cyclic(80, 2, 8, 2)));
  EXPECT_NEAR(one.entropy, std::log(2), 1e-12);
  EXPECT_NEAR(one.balance, 0, 1e-12);
  EXPECT_NEAR(one.cv, std::sqrt(3.0), 1e-12); // 2 of 8 have all: sqrt(8/2 - 1)
  EXPECT_EQ(one.dead, 6);
  RoutingSummary half = summaryOf(statsOf(8, cyclic(80, 1, 8, 4)));
  EXPECT_NEAR(half.balance, 2.0 / 3, 1e-12); // ln 4 / ln 8
  EXPECT_EQ(summaryOf(RoutingStats(8)).busiest, -1);
  EXPECT_DOUBLE_EQ(summaryOf(statsOf(2, cyclic(8, 2, 2, 2))).balance, 1); // K = E: nothing to choose
}

TEST(RoutingStats, labels_find_their_experts) {
  RoutingRecord r = record(1, {0, 0, 0, 1, 1, 2, 1, 1});
  r.labels = {0, 0, 0, 0, 2, 2, 2, 2};
  RoutingStats stats = statsOf(4, r);
  ASSERT_EQ(stats.labelTokens, (std::vector<int64_t>{4, 0, 4}));
  EXPECT_DOUBLE_EQ(labelShare(stats, 0, 0), 0.75);
  EXPECT_DOUBLE_EQ(labelShare(stats, 2, 1), 0.75);
  EXPECT_EQ(bestExpert(stats, 0), 0);
  EXPECT_EQ(bestExpert(stats, 1), -1);
  EXPECT_EQ(bestExpert(stats, 2), 1);
  EXPECT_DOUBLE_EQ(labelLift(stats, 0, 0), 2); // 0.75 of its tokens, 3/8 of all
  EXPECT_DOUBLE_EQ(labelLift(stats, 2, 3), 0);
  r = record(1, {1, 0});
  r.labels = {0, 0};
  EXPECT_EQ(bestExpert(statsOf(2, r), 0), 0); // equal shares: the lower one
}

TEST(RoutingStats, collapse_is_warned_about) {
  EXPECT_FALSE(warns(statsOf(8, cyclic(80, 2, 8, 8)), "W-COLLAPSE"));
  EXPECT_TRUE(warns(statsOf(8, cyclic(80, 2, 8, 2)), "W-COLLAPSE")); // balance 0
  EXPECT_FALSE(warns(statsOf(8, cyclic(80, 1, 8, 4)), "W-COLLAPSE"));
  // Balance stays above one half, but every token has expert 0 among its choices.
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < 1280; ++t)
    for (int32_t j = 0; j < 4; ++j)
      ids.push_back(j ? 1 + (3 * t + j) % 63 : 0);
  RoutingStats stats = statsOf(64, record(4, ids));
  EXPECT_GT(summaryOf(stats).balance, collapseBalance);
  EXPECT_TRUE(warns(stats, "W-COLLAPSE"));
}

TEST(RoutingStats, idle_experts_are_named) {
  std::vector<int32_t> ids(1000);
  for (size_t t = 0; t < ids.size(); ++t)
    ids[t] = t < 9 ? 3 : int32_t(t % 3); // 0.9 %
  std::vector<Diagnostic> warnings = warningsOf(statsOf(4, record(1, ids)));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].message, "1 expert is chosen by less than 1.0 % of the tokens: 3");
  ids[9] = 3; // 1 %
  EXPECT_TRUE(warningsOf(statsOf(4, record(1, ids))).empty());
  // 512 experts of one choice: an even share is 0.2 %, so half of that counts.
  EXPECT_FALSE(warns(statsOf(512, cyclic(5120, 1, 512, 512)), "W-IDLE"));
  EXPECT_TRUE(warns(statsOf(512, cyclic(5120, 1, 512, 511)), "W-IDLE"));
}

TEST(RoutingStats, few_tokens_are_not_judged) {
  EXPECT_FALSE(enoughToJudge(statsOf(8, cyclic(79, 1, 8, 1))));
  EXPECT_TRUE(warningsOf(statsOf(8, cyclic(79, 1, 8, 1))).empty());
  EXPECT_TRUE(warns(statsOf(8, cyclic(80, 1, 8, 1)), "W-COLLAPSE"));
}

TEST(RoutingStats, large_and_broken_logits_are_warned_about) {
  RoutingRecord r = record(1, {0, 1});
  r.logits = {1, -10, 3, 10};
  EXPECT_TRUE(warningsOf(statsOf(2, r)).empty());
  r.logits[1] = -10.5f;
  RoutingStats stats = statsOf(2, r);
  EXPECT_TRUE(warns(stats, "W-LOGITS"));
  EXPECT_EQ(stats.largeLogits, 1);
  EXPECT_DOUBLE_EQ(stats.largestLogit, 10.5);
  r.logits[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(statsOf(2, r).brokenLogits, 1);
}

TEST(RoutingStats, record_that_contradicts_itself_is_refused) {
  auto refusal = [](const RoutingRecord &r) {
    RoutingStats stats(4);
    Result<> added = stats.add(r);
    EXPECT_FALSE(added);
    EXPECT_EQ(stats.tokens, 0);
    return added ? "" : added.error().message;
  };
  EXPECT_EQ(refusal(record(1, {4})), "ids holds 4, expected an expert 0..3, or -1 for none");
  EXPECT_EQ(refusal(record(1, {-2})), "ids holds -2, expected an expert 0..3, or -1 for none");
  RoutingRecord r = record(1, {0, 1});
  r.weights = {1};
  EXPECT_EQ(refusal(r), "weights and ids differ in shape");
  r = record(1, {0, 1});
  r.labels = {0, -1};
  EXPECT_EQ(refusal(r), "labels holds -1, expected 0..999");
  r.labels = {0};
  EXPECT_EQ(refusal(r), "labels has 1 entries for 2 tokens");
  r = record(1, {0, 1});
  r.logits = {1, 2, 3};
  EXPECT_EQ(refusal(r), "logits does not have one row for every token");
  r = record(1, {0, 1});
  r.tokens = 3;
  EXPECT_EQ(refusal(r), "ids is not a table of tokens and choices");
}
