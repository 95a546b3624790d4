// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Times of a default and its rivals -> what a record says of them, and which rival replaces the default.

#ifndef MOEC_CODEGEN_SEARCH_TUNEPROOF_H
#define MOEC_CODEGEN_SEARCH_TUNEPROOF_H

#include "codegen/bench/Ceilings.h"
#include "codegen/tune/TuneRecord.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace moec {

// Pairs {default, candidate} of microseconds of one turn each, and what such a turn computes and reads.
TuneTimes timesOf(const std::vector<std::pair<double, double>> &pairs, double flops, double weightBytes);

// What the ceilings allow a turn at least, in microseconds.
double boundUs(double flops, double weightBytes, const ProbeResult &ceilings);
// A turn this fast leaves something out, or its clock is wrong: below 0.8 of the bound.
bool tooFast(double us, const TuneTimes &times, const ProbeResult &ceilings);

// The interval of the gain lies above 0, and the gain is at least `minimumGain`.
bool beatsDefault(const TuneTimes &times, double minimumGain);

struct Rival {
  TuneTimes times;
  bool believable = true; // false: too fast, also when it was measured again alone
};

struct Decision {
  static constexpr size_t none = size_t(-1);
  size_t chosen = none;   // a rival; none: the default stays
  size_t evidence = none; // the rival whose times prove it: the chosen one, else the best; none: there are no rivals
};

// Rivals whose order their times beside the default leave open: those that beat it too and whose interval meets that of
// the chosen one; the largest gain first.
std::vector<size_t> undecided(const std::vector<Rival> &rivals, const Decision &decision, double minimumGain);

// Whether `challenger` takes the place of `leader`, from pairs {leader, challenger}: if it is faster beyond the
// interval, or if neither is and it is the simpler one.
bool challengerWins(const TuneTimes &pairs, bool challengerIsSimpler);

// Of the believable rivals that beat the default, the one with the largest gain; of equal ones the first.
Decision decide(const std::vector<Rival> &rivals, double minimumGain);

} // namespace moec

#endif
