// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lifetimes of buffers -> workspace slots, greedily in the order of their first step. A slot is as large as its largest
// buffer, so a buffer takes the free slot that grows least by it, among those the smallest. Joined steps count as one:
// either may run first.
//
// Buffers that only reports need come last: they take what is free of the others' slots where these do not grow, and
// else slots of their own at the end, which a call without reports does not have.

#include "codegen/fuse/JoinStages.h"
#include "codegen/plan/PlanBuilder.h"

#include <algorithm>
#include <utility>

namespace moec {

namespace {

struct Lifetime {
  size_t buffer, first, last;
};

struct Slot {
  moec_extent bytes;
  std::vector<Lifetime> users;
  bool isFree(const Lifetime &life) const {
    return std::none_of(users.begin(), users.end(),
                        [&](const Lifetime &user) { return life.first <= user.last && user.first <= life.last; });
  }
};

class SlotAssignment {
public:
  explicit SlotAssignment(LaunchPlan &plan) : plan(plan) {}
  void place(const Lifetime &life, size_t firstThatGrows);
  std::vector<Slot> slots;

private:
  LaunchPlan &plan;
};

// Whether every step that uses the buffer waits for a report; counts do not count as one, because dispatch has them
// anyway.
bool isForReports(const LaunchPlan &plan, size_t buffer) {
  for (const moec_step &step : plan.steps)
    if (llvm::is_contained(plan.argsOf(step), buffer) && step.asked >> MOEC_ROLE_PROBABILITIES == 0)
      return false;
  return true;
}

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
      if (llvm::is_contained(plan.argsOf(plan.steps[s]), i)) {
        life.first = std::min(life.first, placeOf(plan, s));
        life.last = std::max(life.last, placeOf(plan, s));
      }
    if (needsSlot(plan.buffers[i]))
      all.push_back(life);
  }
  std::stable_sort(all.begin(), all.end(), [](const Lifetime &a, const Lifetime &b) { return a.first < b.first; });
  return all;
}

// Slots below `firstThatGrows` take the buffer only where it fits them as they are.
void SlotAssignment::place(const Lifetime &life, size_t firstThatGrows) {
  moec_buffer &buffer = plan.buffers[life.buffer];
  size_t best = slots.size();
  auto cost = [&](size_t slot) {
    int64_t more = buffer.bytes.per_token - slots[slot].bytes.per_token;
    return std::make_pair(std::max<int64_t>(more, 0), -more);
  };
  auto fits = [&](size_t slot) {
    const moec_extent &have = slots[slot].bytes, &need = buffer.bytes;
    return have.per_token >= need.per_token && have.per_sequence >= need.per_sequence && have.fixed >= need.fixed;
  };
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].isFree(life) && (i >= firstThatGrows || fits(i)) && (best == slots.size() || cost(i) < cost(best)))
      best = i;
  if (best == slots.size())
    slots.push_back({{0, 0, 0}, {}});
  Slot &slot = slots[best];
  slot.bytes.per_token = std::max(slot.bytes.per_token, buffer.bytes.per_token);
  slot.bytes.per_sequence = std::max(slot.bytes.per_sequence, buffer.bytes.per_sequence);
  slot.bytes.fixed = std::max(slot.bytes.fixed, buffer.bytes.fixed);
  slot.users.push_back(life);
  buffer.slot = uint16_t(best);
}

} // namespace

void assignSlots(LaunchPlan &plan) {
  SlotAssignment assignment(plan);
  std::vector<Lifetime> reports;
  for (const Lifetime &life : lifetimes(plan)) {
    if (isForReports(plan, life.buffer))
      reports.push_back(life);
    else
      assignment.place(life, 0);
  }
  size_t always = assignment.slots.size();
  for (const Lifetime &life : reports)
    assignment.place(life, always);
  plan.header.num_slots = uint32_t(assignment.slots.size());
  plan.header.num_report_slots = uint32_t(assignment.slots.size() - always);
}

} // namespace moec
