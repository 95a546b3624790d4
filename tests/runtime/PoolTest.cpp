// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Regions on the pool: every unit once, steps in order, whoever runs them.

#include "TinyLayer.h"

#include "runtime/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace moec::test;

namespace {

struct Region {
  std::vector<uint32_t> steps; // units of each
  size_t at = 0;
  int32_t maxThreads = 1;
  std::vector<std::atomic<int>> runs = std::vector<std::atomic<int>>(64);
  std::atomic<int> running{0}, errors{0};
  int64_t total = 0;

  static uint32_t next(void *context) {
    Region &r = *static_cast<Region *>(context);
    if (r.running != 0)
      ++r.errors; // a unit of the step before is not finished
    for (size_t u = 0; r.at > 0 && u < r.steps[r.at - 1]; ++u)
      r.errors += r.runs[u].exchange(0) != 1;
    if (r.at == r.steps.size())
      return 0;
    r.total += r.steps[r.at];
    return r.steps[r.at++];
  }
  static void run(void *context, uint32_t unit, int32_t worker) {
    Region &r = *static_cast<Region *>(context);
    ++r.running;
    if (unit >= r.steps[r.at - 1] || worker < 0 || worker >= r.maxThreads)
      ++r.errors;
    else
      ++r.runs[unit];
    --r.running;
  }
};

moec_pool *makePool(int32_t threads, int32_t spinUs, int32_t whenBusy = MOEC_BUSY_ALONE) {
  moec_pool_options options = {};
  options.struct_size = sizeof(options);
  options.threads = threads;
  options.spin_us = spinUs;
  options.when_busy = whenBusy;
  moec_pool *pool = nullptr;
  EXPECT_EQ(moec_pool_create(&options, &pool), MOEC_OK) << lastError();
  return pool;
}

void runMany(moec_pool *pool, int32_t maxThreads, int repeats) {
  for (int repeat = 0; repeat < repeats; ++repeat) {
    Region region;
    region.maxThreads = maxThreads;
    for (int step = 0; step < repeat % 7; ++step)
      region.steps.push_back(1 + static_cast<uint32_t>((repeat * 31 + step * 17) % 60));
    moec_region r = {&region, Region::next, Region::run};
    moec_pool_run(pool, &r);
    ASSERT_EQ(region.errors, 0);
    ASSERT_EQ(region.at, region.steps.size());
  }
}

} // namespace

TEST(Pool, every_unit_runs_once_and_steps_keep_their_order) {
  for (int32_t maxThreads : {2, 3, 5})
    for (int32_t spinUs : {-1, 50}) {
      moec_pool *pool = makePool(maxThreads, spinUs);
      runMany(pool, maxThreads, 300);
      moec_pool_destroy(pool);
    }
}

TEST(Pool, callers_at_the_same_time_each_finish) {
  for (int32_t whenBusy : {MOEC_BUSY_ALONE, MOEC_BUSY_WAIT}) {
    moec_pool *pool = makePool(3, -1, whenBusy);
    std::vector<std::thread> others;
    for (int i = 0; i < 3; ++i)
      others.emplace_back([&] { runMany(pool, 3, 200); });
    runMany(pool, 3, 200);
    for (std::thread &other : others)
      other.join();
    moec_pool_destroy(pool);
  }
}

TEST(Pool, destroyed_without_having_run) { moec_pool_destroy(makePool(4, 0)); }

TEST(Pool, parked_threads_wake_up) {
  moec_pool *pool = makePool(3, -1);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    runMany(pool, 3, 7);
  }
  moec_pool_destroy(pool);
}
