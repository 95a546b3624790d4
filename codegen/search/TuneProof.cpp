// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/TuneProof.h"

#include "codegen/bench/RatioInterval.h"

#include <algorithm>

namespace moec {

static TuneSpan spanOf(const std::vector<double> &us) {
  auto [low, high] = std::minmax_element(us.begin(), us.end());
  return us.empty() ? TuneSpan() : TuneSpan{medianOf(us), *low, *high};
}

TuneTimes timesOf(const std::vector<std::pair<double, double>> &pairs, double flops, double weightBytes) {
  TuneTimes times;
  std::vector<double> standard, candidate;
  for (auto [a, b] : pairs) {
    standard.push_back(a);
    candidate.push_back(b);
    times.wins += b < a;
  }
  times.standard = spanOf(standard);
  times.candidate = spanOf(candidate);
  times.pairs = int64_t(pairs.size());
  RatioInterval ratio = pairedRatio(pairs); // candidate / default
  times.gain = 1 / ratio.ratio - 1;
  times.gainLow = ratio.known() ? 1 / ratio.high - 1 : times.gain;
  times.gainHigh = ratio.known() ? 1 / ratio.low - 1 : times.gain;
  times.flops = int64_t(flops);
  times.bytes = int64_t(weightBytes);
  return times;
}

double boundUs(double flops, double weightBytes, const ProbeResult &ceilings) {
  return std::max(flops / ceilings.gflops, weightBytes / ceilings.gbps) * 1e-3;
}

bool tooFast(double us, const TuneTimes &times, const ProbeResult &ceilings) {
  return us < 0.8 * boundUs(double(times.flops), double(times.bytes), ceilings);
}

bool beatsDefault(const TuneTimes &times, double minimumGain) { return times.gainLow > 0 && times.gain >= minimumGain; }

Decision decide(const std::vector<Rival> &rivals, double minimumGain) {
  Decision decision;
  size_t best = Decision::none;
  for (size_t r = 0; r < rivals.size(); ++r) {
    auto better = [&](size_t other) {
      return other == Decision::none || rivals[r].times.gain > rivals[other].times.gain;
    };
    if (rivals[r].believable && beatsDefault(rivals[r].times, minimumGain) && better(decision.chosen))
      decision.chosen = r;
    // What cannot be believed proves nothing, unless there is nothing else.
    bool worthier = best != Decision::none && rivals[r].believable && !rivals[best].believable;
    bool lesser = best != Decision::none && !rivals[r].believable && rivals[best].believable;
    if (worthier || (!lesser && better(best)))
      best = r;
  }
  decision.evidence = decision.chosen == Decision::none ? best : decision.chosen;
  return decision;
}

std::vector<size_t> undecided(const std::vector<Rival> &rivals, const Decision &decision, double minimumGain) {
  std::vector<size_t> open;
  if (decision.chosen == Decision::none)
    return open;
  for (size_t r = 0; r < rivals.size(); ++r)
    if (r != decision.chosen && rivals[r].believable && beatsDefault(rivals[r].times, minimumGain) &&
        rivals[r].times.gainHigh >= rivals[decision.chosen].times.gainLow)
      open.push_back(r);
  std::sort(open.begin(), open.end(), [&](size_t a, size_t b) {
    return std::pair(-rivals[a].times.gain, a) < std::pair(-rivals[b].times.gain, b);
  });
  return open;
}

bool challengerWins(const TuneTimes &pairs, bool challengerIsSimpler) {
  return pairs.gainLow > 0 || (pairs.gainHigh >= 0 && challengerIsSimpler);
}

} // namespace moec
