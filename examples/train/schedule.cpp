// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "schedule.h"

#include <algorithm>
#include <cmath>

namespace train {

const char *name_of(Phase phase) {
  return phase == Phase::warm_up ? "warm-up" : phase == Phase::main ? "main" : "fine-tuning";
}

Step plan(const Schedule &s, int64_t step) {
  double at = (double(step) + 1) / double(s.steps), warm = 0; // warm: how much of warm-up is over
  Step now = {};
  if (at <= s.warm_up) {
    now.phase = Phase::warm_up;
    warm = at / s.warm_up;
  } else {
    now.phase = at <= 1 - s.fine_tuning ? Phase::main : Phase::fine_tuning;
    warm = 1;
  }
  double cosine = 0.5 + 0.5 * std::cos(3.141592653589793 * std::max(0.0, at - s.warm_up) / (1 - s.warm_up));
  double factor = now.phase == Phase::warm_up ? warm : cosine;
  now.rate = s.rate * factor;
  now.router_rate = s.router_rate * factor;

  Routing &routing = now.routing;
  routing.training = true;
  // Dense at first, then sparse: the number of experts falls from all to top_k as evenly as whole numbers can.
  routing.top_k = s.top_k + static_cast<int32_t>(std::floor((1 - warm) * double(s.experts - s.top_k + 1)));
  routing.top_k = std::min(routing.top_k, s.experts);
  routing.capacity_factor = now.phase == Phase::warm_up ? s.warm_up_capacity : 0;
  routing.own_capacity = now.phase == Phase::main;
  routing.noise = now.phase == Phase::fine_tuning ? 0 : s.noise;
  routing.seed = s.seed;
  routing.step = static_cast<uint64_t>(step);
  routing.balance_coefficient = s.balance_coefficient;
  routing.z_coefficient = s.z_coefficient;
  now.bias_rate = now.phase == Phase::fine_tuning ? 0 : s.bias_rate;
  now.adapt_capacity = now.phase == Phase::main;
  now.revive = now.phase == Phase::main && s.look_for_dead > 0 && (step + 1) % s.look_for_dead == 0;
  return now;
}

} // namespace train
