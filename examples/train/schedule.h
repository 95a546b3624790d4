// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// schedule.h - a step's number -> learning rates and routing, in three phases.
//
//     phase       steps            rate                 experts per token   places per expert          router noise
//     warm-up     the first 10 %   rises from 0         all, down to top_k  twice an equal share       full
//     main        until 85 %       falls as a cosine    top_k               follows the balance        full
//     fine-tuning the last 15 %    falls on to 0        top_k               room for every token       none
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "routing.h"

#include <cstdint>

namespace train {

enum class Phase { warm_up, main, fine_tuning };

struct Schedule {
  int64_t steps = 800;
  double warm_up = 0.1, fine_tuning = 0.15; // shares of the steps
  double rate = 4e-3, router_rate = 2e-3;   // at the end of warm-up
  int32_t top_k = 2, experts = 8;
  double warm_up_capacity = 2, noise = 0.3;
  float balance_coefficient = 0.01f, z_coefficient = 0.001f;
  float bias_rate = 1e-3f;    // of the choice bias
  int64_t look_for_dead = 50; // every so many steps of the main phase
  double dead_below = 0.05;   // share of an equal share
  uint64_t seed = 1;
};

struct Step {
  Phase phase;
  double rate, router_rate;
  Routing routing;
  float bias_rate;
  bool adapt_capacity, revive;
};

Step plan(const Schedule &schedule, int64_t step);
const char *name_of(Phase phase);

} // namespace train
#endif
