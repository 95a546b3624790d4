// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lifetimes of buffers -> workspace slots, greedily in the order of their first step. A slot is as large as its largest
// buffer, so a buffer takes the free slot that grows least by it, among those the smallest. Joined steps count as one:
// either may run first.

#include "codegen/moe/JoinStages.h"
#include "codegen/moe/LaunchPlanner.h"

#include <algorithm>
#include <utility>

namespace moec {

namespace {

struct Lifetime {
  size_t buffer, first, last;
};

struct Slot {
  moec_extent bytes;
  size_t busyUntil; // last step that uses it
};

bool needsSlot(const moec_buffer &buffer) {
  return buffer.kind == MOEC_BUFFER_WORKSPACE || buffer.kind == MOEC_BUFFER_OPT_OUTPUT;
}

// A joined step has the place of the step behind it.
size_t placeOf(const LaunchPlan &plan, size_t step) {
  mlir::Operation *stage = plan.stageOf[step];
  return stage && stage->hasAttr(moe::joinedAttr) ? step + 1 : step;
}

std::vector<Lifetime> lifetimes(const LaunchPlan &plan) {
  std::vector<Lifetime> all;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    Lifetime life = {i, plan.steps.size(), 0};
    for (size_t s = 0; s < plan.steps.size(); ++s)
      for (unsigned a = 0; a < plan.steps[s].num_args; ++a)
        if (plan.args[plan.steps[s].first_arg + a] == i) {
          life.first = std::min(life.first, placeOf(plan, s));
          life.last = std::max(life.last, placeOf(plan, s));
        }
    if (needsSlot(plan.buffers[i]))
      all.push_back(life);
  }
  std::stable_sort(all.begin(), all.end(), [](const Lifetime &a, const Lifetime &b) { return a.first < b.first; });
  return all;
}

} // namespace

void assignSlots(LaunchPlan &plan) {
  std::vector<Slot> slots;
  for (const Lifetime &life : lifetimes(plan)) {
    moec_buffer &buffer = plan.buffers[life.buffer];
    size_t best = slots.size();
    auto cost = [&](size_t slot) {
      int64_t more = buffer.bytes.per_token - slots[slot].bytes.per_token;
      return std::make_pair(std::max<int64_t>(more, 0), -more);
    };
    for (size_t i = 0; i < slots.size(); ++i)
      if (slots[i].busyUntil < life.first && (best == slots.size() || cost(i) < cost(best)))
        best = i;
    if (best == slots.size())
      slots.push_back({{0, 0, 0}, 0});
    Slot &slot = slots[best];
    slot.bytes.per_token = std::max(slot.bytes.per_token, buffer.bytes.per_token);
    slot.bytes.per_sequence = std::max(slot.bytes.per_sequence, buffer.bytes.per_sequence);
    slot.busyUntil = life.last;
    buffer.slot = uint16_t(best);
  }
  plan.header.num_slots = uint32_t(slots.size());
}

} // namespace moec
