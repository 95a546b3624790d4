// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From times to a choice.

#include "codegen/search/TuneProof.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

TuneTimes gain(double low, double middle, double high) {
  TuneTimes times;
  times.gainLow = low, times.gain = middle, times.gainHigh = high;
  return times;
}
constexpr size_t none = Decision::none;

TEST(tune_proof, times_of_pairs) {
  TuneTimes times =
      timesOf({{110, 100}, {111, 100}, {109, 101}, {110, 99}, {112, 100}, {110, 120}, {110, 100}}, 3e6, 64e3);
  EXPECT_EQ(times.pairs, 7);
  EXPECT_EQ(times.wins, 6);
  EXPECT_EQ(times.standard.median, 110);
  EXPECT_EQ(times.standard.low, 109);
  EXPECT_EQ(times.candidate.high, 120);
  EXPECT_NEAR(times.gain, 0.1, 0.01);
  EXPECT_LE(times.gainLow, times.gain);
  EXPECT_GE(times.gainHigh, times.gain);
  EXPECT_EQ(times.flops, 3000000);
  EXPECT_EQ(times.bytes, 64000);
}

TEST(tune_proof, a_gain_needs_its_interval_and_one_per_cent) {
  EXPECT_TRUE(beatsDefault(gain(0.001, 0.01, 0.02), 0.01));
  EXPECT_FALSE(beatsDefault(gain(0, 0.05, 0.1), 0.01));        // may be nothing
  EXPECT_FALSE(beatsDefault(gain(0.005, 0.0099, 0.02), 0.01)); // is too little
  EXPECT_FALSE(beatsDefault(gain(-0.1, 0.2, 0.3), 0.01));
}

TEST(tune_proof, the_largest_proven_gain_is_chosen) {
  auto decided = [](std::vector<Rival> rivals) {
    Decision decision = decide(rivals, 0.01);
    return std::pair(decision.chosen, decision.evidence);
  };
  using Pair = std::pair<size_t, size_t>;
  EXPECT_EQ(decided({}), Pair(none, none));
  EXPECT_EQ(decided({{gain(0.01, 0.02, 0.03)}, {gain(0.03, 0.04, 0.05)}, {gain(0.02, 0.03, 0.04)}}), Pair(1, 1));
  EXPECT_EQ(decided({{gain(0.03, 0.04, 0.05)}, {gain(0.03, 0.04, 0.05)}}), Pair(0, 0));
  // A larger gain without a proof does not win, and is no evidence beside one that is.
  EXPECT_EQ(decided({{gain(-0.2, 0.3, 0.5)}, {gain(0.01, 0.02, 0.03)}}), Pair(1, 1));
  // The default stays: the best rival shows by how little.
  EXPECT_EQ(decided({{gain(-0.2, -0.1, 0)}, {gain(-0.1, 0.005, 0.1)}, {gain(-0.2, 0, 0)}}), Pair(none, 1));
  // What cannot be believed never wins.
  EXPECT_EQ(decided({{gain(2, 3, 4), false}, {gain(0.01, 0.02, 0.03)}}), Pair(1, 1));
  EXPECT_EQ(decided({{gain(2, 3, 4), false}, {gain(-0.1, 0, 0.1)}}), Pair(none, 1));
  EXPECT_EQ(decided({{gain(2, 3, 4), false}}), Pair(none, 0));
}

TEST(tune_proof, rivals_whose_intervals_meet_are_undecided) {
  auto open = [](std::vector<Rival> rivals) { return undecided(rivals, decide(rivals, 0.01), 0.01); };
  using List = std::vector<size_t>;
  EXPECT_EQ(open({}), List());
  EXPECT_EQ(open({{gain(-0.1, 0, 0.1)}, {gain(-0.1, 0.005, 0.1)}}), List()) << "the default stays";
  EXPECT_EQ(open({{gain(0.01, 0.02, 0.03)}, {gain(0.04, 0.05, 0.06)}}), List()) << "the order is proven";
  EXPECT_EQ(open({{gain(0.01, 0.02, 0.04)}, {gain(0.02, 0.03, 0.05)}, {gain(0.04, 0.05, 0.06)}}), List({1, 0}));
  EXPECT_EQ(open({{gain(0.04, 0.05, 0.06)}, {gain(-0.1, 0.04, 0.06)}, {gain(0.05, 0.06, 0.07), false}}), List())
      << "one has no proof, one cannot be believed";
}

TEST(tune_proof, pairs_of_rivals_decide_and_a_tie_takes_the_simpler_one) {
  EXPECT_TRUE(challengerWins(gain(0.001, 0.01, 0.02), false));
  EXPECT_FALSE(challengerWins(gain(-0.02, -0.01, -0.001), true));
  EXPECT_TRUE(challengerWins(gain(-0.01, -0.002, 0.01), true));
  EXPECT_FALSE(challengerWins(gain(-0.01, 0.002, 0.01), false));
}

TEST(tune_proof, a_turn_cannot_beat_the_machine) {
  ProbeResult ceilings = {100, 10}; // 1e9 per second
  EXPECT_NEAR(boundUs(1e6, 1e3, ceilings), 10, 1e-9);
  EXPECT_NEAR(boundUs(1e3, 1e6, ceilings), 100, 1e-9);
  TuneTimes times;
  times.flops = 1000000, times.bytes = 1000;
  EXPECT_FALSE(tooFast(10, times, ceilings));
  EXPECT_FALSE(tooFast(8.1, times, ceilings));
  EXPECT_TRUE(tooFast(7.9, times, ceilings));
}

} // namespace
} // namespace moec
