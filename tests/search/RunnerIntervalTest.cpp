// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runner of a bundle cannot link the compiler's statistics: its own must say the same of the same pairs.

extern "C" {
#include "templates/runner/interval.h"
}

#include "codegen/search/TuneProof.h"

#include <gtest/gtest.h>

#include <random>

namespace moec {
namespace {

TEST(runner_interval, says_what_the_search_says) {
  std::mt19937 random(7);
  std::lognormal_distribution<double> noise(0, 0.02);
  for (size_t count : {1, 2, 5, 6, 7, 11, 15}) {
    std::vector<std::pair<double, double>> pairs;
    std::vector<pair_us> own;
    for (size_t i = 0; i < count; ++i) {
      pairs.emplace_back(100 * noise(random), 97 * noise(random));
      own.push_back({pairs.back().first, pairs.back().second});
    }
    TuneTimes want = moec::timesOf(pairs, 0, 0);
    pair_times got = times_of(own.data(), count);
    EXPECT_EQ(got.pairs, size_t(want.pairs));
    EXPECT_EQ(got.wins, size_t(want.wins));
    EXPECT_DOUBLE_EQ(got.standard.median, want.standard.median) << count;
    EXPECT_DOUBLE_EQ(got.candidate.high, want.candidate.high) << count;
    EXPECT_NEAR(got.gain, want.gain, 1e-12) << count;
    EXPECT_NEAR(got.gain_low, want.gainLow, 1e-12) << count;
    EXPECT_NEAR(got.gain_high, want.gainHigh, 1e-12) << count;
  }
}

} // namespace
} // namespace moec
