// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chosen ids [T,K] -> which of them find a place at their expert: stage 11 of the oracle.
//
// Slots (token, choice) of one scope queue up in a defined order; an expert takes the first C of its queue.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace moec {

namespace {

struct Slot {
  int64_t token, choice;
};

// C = round(value · T · (k if per_choice) / E), C = round(value · T), or given; at least min, at most max.
int64_t placesPerExpert(const CapacitySpec &capacity, double given, int64_t tokens, int64_t choices, int64_t experts) {
  double places = capacity.value;
  if (capacity.mode == CapacityMode::Dynamic)
    places = given;
  if (capacity.mode == CapacityMode::Factor)
    places = capacity.value * tokens * (capacity.perChoice ? choices : 1) / experts;
  if (capacity.mode == CapacityMode::Fraction)
    places = capacity.value * tokens;
  places = capacity.round == CapacityRound::Floor  ? std::floor(places)
           : capacity.round == CapacityRound::Ceil ? std::ceil(places)
                                                   : std::floor(places + 0.5);
  places = std::max(places, double(capacity.min));
  if (capacity.max)
    places = std::min(places, double(*capacity.max));
  return int64_t(std::clamp(places, 0.0, 1e15));
}

// order token: by position. score: token-major by the slot's own weight, choice-major by the weight of the token's
// first choice. largest_per_expert: by the slot's own weight. random: by the caller's priority. Larger first, then by
// position. major choice: all first choices before all second ones.
std::vector<Slot> queueOf(const CapacitySpec &capacity, const Routing &routing, const Doubles &priority, int64_t first,
                          int64_t last) {
  std::vector<std::pair<double, Slot>> keyed;
  bool largest = capacity.order == CapacityOrder::LargestPerExpert;
  bool byChoice = capacity.major == CapacityMajor::Choice && !largest;
  for (int64_t t = first; t < last; ++t)
    for (int64_t j = 0; j < routing.choices; ++j) {
      double weight = routing.weights[t * routing.choices + (byChoice ? 0 : j)];
      double key = capacity.order == CapacityOrder::Score || largest ? weight
                   : capacity.order == CapacityOrder::Random         ? priority[t]
                                                                     : 0;
      keyed.push_back({std::isnan(key) ? -HUGE_VAL : key, {t, j}});
    }
  std::sort(keyed.begin(), keyed.end(), [byChoice](const auto &a, const auto &b) {
    if (byChoice && a.second.choice != b.second.choice)
      return a.second.choice < b.second.choice;
    if (a.first != b.first)
      return a.first > b.first;
    return std::tie(a.second.token, a.second.choice) < std::tie(b.second.token, b.second.choice);
  });
  std::vector<Slot> queue;
  for (const auto &entry : keyed)
    queue.push_back(entry.second);
  return queue;
}

// The best expert with room that no placed choice of the token uses, by choice value; -1: none.
int64_t nextBest(const Routing &routing, const std::vector<uint8_t> &placed, const std::vector<int64_t> &free,
                 Slot slot) {
  for (int64_t e : topIndices(&routing.choice[slot.token * routing.rows], routing.rows, routing.rows)) {
    bool taken = false;
    for (int64_t i = slot.token * routing.choices; i < (slot.token + 1) * routing.choices; ++i)
      taken |= placed[i] && routing.ids[i] == e;
    if (!taken && free[e] > 0)
      return e;
  }
  return -1;
}

} // namespace

bool applyCapacity(ReferenceRun &run, Routing &routing) {
  const CapacitySpec &capacity = *run.spec.capacity;
  int64_t experts = run.spec.experts.count;
  Doubles priority;
  if (capacity.order == CapacityOrder::Random && !run.extra("priority", 1, "capacity.order", priority))
    return false;
  double given = 0;
  if (capacity.mode == CapacityMode::Dynamic) {
    auto it = run.inputs.extra.find("capacity");
    if (it == run.inputs.extra.end() || it->second.data.size() != 1)
      return run.fail("capacity.mode dynamic needs the input 'capacity' with one value");
    given = it->second.data[0];
  }
  std::vector<std::pair<int64_t, int64_t>> scopes = run.scopes(capacity.scope == CapacityScope::Sequence);
  if (capacity.scope == CapacityScope::Group) {
    scopes.clear(); // by position in the call, whichever tokens a wrap lets through
    for (int64_t t = 0; t < run.numTokens; ++t) {
      if (t == 0 || run.tokens[t] / capacity.groupSize != run.tokens[t - 1] / capacity.groupSize)
        scopes.push_back({t, t});
      scopes.back().second = t + 1;
    }
  }
  std::vector<uint8_t> placed(routing.ids.size(), 0);
  for (auto [first, last] : scopes) {
    std::vector<int64_t> free(routing.rows, placesPerExpert(capacity, given, last - first, routing.choices, experts));
    // Zero experts hold no parameters and have room for everybody.
    std::fill(free.begin() + experts, free.end(), INT64_MAX);
    for (Slot slot : queueOf(capacity, routing, priority, first, last)) {
      int64_t at = slot.token * routing.choices + slot.choice;
      int64_t &id = routing.ids[at];
      if (!routing.kept[at])
        continue;
      if (capacity.overflow == Overflow::NextBest)
        id = nextBest(routing, placed, free, slot);
      placed[at] = 1;
      if (id >= 0 && free[id] > 0) {
        --free[id];
      } else {
        routing.kept[at] = 0;
        routing.overflowed[at] = 1;
      }
    }
  }
  return true;
}

} // namespace moec
