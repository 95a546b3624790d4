// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tiny wrong programs -> a report each: the sanitizers of this build are at work in our own C++ and in the pool.

extern "C" {
#include "runtime/threads.h"
}

#include <gtest/gtest.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <thread>
#include <vector>

namespace moec {
namespace {

class ProgramDeath : public testing::Test {
protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

#ifdef MOEC_SANITIZER_address

TEST_F(ProgramDeath, read_behind_a_vector_is_caught) {
  std::vector<int> values(7);
  volatile size_t behind = 7;
  EXPECT_DEATH(
      {
        volatile int value = values.data()[behind];
        (void)value;
      },
      "AddressSanitizer: heap-buffer-overflow");
}

TEST_F(ProgramDeath, signed_overflow_is_caught) {
  volatile int largest = INT_MAX;
  EXPECT_DEATH(largest = largest + 1, "signed integer overflow: 2147483647 \\+ 1");
}

#else

// Two steps of two units, run by two threads: a unit waits for the other one. Relaxed, so that the meeting orders
// nothing: only the pool does.
struct TwoSteps {
  int64_t ofUnit[2] = {}, seen[2] = {}, sum = 0;
  uint32_t steps = 0;
  bool shareSum = false;
  std::atomic<uint32_t> arrived{0};
};

uint32_t nextStep(void *context) { return ++static_cast<TwoSteps *>(context)->steps <= 2 ? 2 : 0; }

void runUnit(void *context, uint32_t unit, int32_t) {
  auto *two = static_cast<TwoSteps *>(context);
  uint32_t step = two->steps;
  two->arrived.fetch_add(1, std::memory_order_relaxed);
  while (two->arrived.load(std::memory_order_relaxed) < 2 * step)
    std::this_thread::yield();
  if (two->shareSum)
    two->sum += unit;
  else if (step == 1)
    two->ofUnit[unit] = 10 + unit;
  else
    two->seen[unit] = two->ofUnit[1 - unit];
}

void runOnTwoThreads(TwoSteps &two) {
  moec_pool *pool = moec_pool_create(2, -1);
  moec_region region = {&two, nextStep, runUnit};
  moec_pool_run(pool, &region);
  moec_pool_destroy(pool);
}

TEST_F(ProgramDeath, units_of_one_step_that_write_one_place_are_a_race) {
  auto share = [] {
    TwoSteps two;
    two.shareSum = true;
    runOnTwoThreads(two);
    std::_Exit(0);
  };
  EXPECT_EXIT(share(), testing::ExitedWithCode(66), "ThreadSanitizer: data race");
}

// The same program without a race: a step may read what the other unit of the step before wrote.
TEST_F(ProgramDeath, units_of_two_steps_are_in_order) {
  for (int call = 0; call < 200; ++call) {
    TwoSteps two;
    runOnTwoThreads(two);
    EXPECT_EQ(two.seen[0], 11);
    EXPECT_EQ(two.seen[1], 10);
  }
}

#endif

} // namespace
} // namespace moec
