// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What counts say about the load, and the rules that act on it.

#include "runtime/moec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace {

std::string lastError() {
  char text[256];
  moec_last_error(text, sizeof text);
  return text;
}

moec_load loadOf(const std::vector<int32_t> &counts) {
  moec_load load = {};
  EXPECT_EQ(moec_load_of_counts(counts.data(), int64_t(counts.size()), &load), MOEC_OK) << lastError();
  return load;
}

} // namespace

TEST(Balance, load_of_even_counts) {
  moec_load load = loadOf({5, 5, 5, 5});
  EXPECT_EQ(load.total, 20);
  EXPECT_EQ(load.dead_experts, 0);
  EXPECT_NEAR(load.entropy, std::log(4.0), 1e-15);
  EXPECT_EQ(load.variation, 0);
  EXPECT_EQ(load.max_share, 0.25);
}

TEST(Balance, load_of_one_expert_only) {
  moec_load load = loadOf({0, 7, 0});
  EXPECT_EQ(load.dead_experts, 2);
  EXPECT_EQ(load.entropy, 0);
  EXPECT_NEAR(load.variation, std::sqrt(2.0), 1e-15);
  EXPECT_EQ(load.max_share, 1);
}

TEST(Balance, load_of_nothing) {
  moec_load load = loadOf({0, 0});
  EXPECT_EQ(load.total, 0);
  EXPECT_EQ(load.dead_experts, 0);
  EXPECT_EQ(load.entropy, 0);
  EXPECT_EQ(load.max_share, 0);
}

TEST(Balance, entropy_is_that_of_the_math_library) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> counts(1 + random() % 300);
    double total = 0, entropy = 0;
    for (int32_t &count : counts)
      total += count = int32_t(random() % (round % 2 ? 1000000000u : 9u));
    for (int32_t count : counts)
      entropy -= count ? count / total * std::log(count / total) : 0;
    EXPECT_NEAR(loadOf(counts).entropy, total ? entropy : 0, 1e-13);
  }
}

TEST(Balance, choice_bias_moves_towards_the_mean) {
  std::vector<float> bias = {0.5f, 0.5f, 0.5f, 0.5f};
  std::vector<int32_t> counts = {1, 3, 9, 3}; // mean 4
  ASSERT_EQ(moec_update_choice_bias(bias.data(), counts.data(), 4, 0.25f, 0), MOEC_OK);
  EXPECT_EQ(bias, (std::vector<float>{0.75f, 0.75f, 0.25f, 0.75f}));
  ASSERT_EQ(moec_update_choice_bias(bias.data(), counts.data(), 4, 0, 1), MOEC_OK);
  EXPECT_EQ(bias, (std::vector<float>{0.125f, 0.125f, -0.375f, 0.125f}));
}

TEST(Balance, choice_bias_of_an_expert_at_the_mean_stays) {
  std::vector<float> bias = {1, 1, 1};
  std::vector<int32_t> counts = {INT32_MAX, INT32_MAX, INT32_MAX};
  ASSERT_EQ(moec_update_choice_bias(bias.data(), counts.data(), 3, 1, 0), MOEC_OK);
  EXPECT_EQ(bias, (std::vector<float>{1, 1, 1}));
}

TEST(Balance, capacity_factor_follows_the_variation) {
  auto next = [](const std::vector<int32_t> &counts, double factor) {
    EXPECT_EQ(moec_next_capacity_factor(counts.data(), int64_t(counts.size()), &factor), MOEC_OK);
    return factor;
  };
  EXPECT_DOUBLE_EQ(next({4, 4, 4, 4}, 2.0), 1.9);  // even: smaller
  EXPECT_DOUBLE_EQ(next({4, 4, 4, 4}, 1.15), 1.1); // not below 1.1
  EXPECT_DOUBLE_EQ(next({0, 8, 0, 8}, 2.0), 2.1);  // uneven: larger
  EXPECT_DOUBLE_EQ(next({0, 8, 0, 8}, 2.95), 3.0); // not above 3
  EXPECT_DOUBLE_EQ(next({3, 4, 5, 4}, 2.0), 2.0);  // between: as it is
  EXPECT_DOUBLE_EQ(next({0, 0}, 2.0), 2.0);
}

TEST(Balance, arguments) {
  moec_load load = {};
  float bias[2] = {1, 2};
  double factor = 1;
  int32_t counts[2] = {1, -1};
  EXPECT_EQ(moec_load_of_counts(nullptr, 2, &load), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "counts is NULL");
  EXPECT_EQ(moec_load_of_counts(counts, 2, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_load_of_counts(counts, 0, &load), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "num_experts is 0, expected at least 1");
  EXPECT_EQ(moec_load_of_counts(counts, 2, &load), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "counts[1] is -1, expected at least 0");
  EXPECT_EQ(moec_update_choice_bias(nullptr, counts, 2, 1, 0), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_update_choice_bias(bias, counts, 2, 1, 0), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(bias[0], 1) << "nothing is written after an error";
  counts[1] = 1;
  EXPECT_EQ(moec_update_choice_bias(bias, counts, 2, NAN, 0), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(moec_next_capacity_factor(counts, 2, nullptr), MOEC_NULL_POINTER);
  factor = 0;
  EXPECT_EQ(moec_next_capacity_factor(counts, 2, &factor), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "factor is 0, expected a number above 0");
}
