// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Buffers, routes and items of a plan in -> bytes out.

#include "codegen/package/CallMemory.h"

#include <algorithm>

namespace moec {

std::vector<std::vector<moec_extent>> slotMembers(const PlanTables &plan, const BufferFilter &isUsed) {
  std::vector<std::vector<moec_extent>> members(plan.header.num_slots);
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const moec_buffer &buffer = plan.buffers[i];
    if ((buffer.kind == MOEC_BUFFER_WORKSPACE || buffer.kind == MOEC_BUFFER_OPT_OUTPUT) &&
        buffer.slot < plan.header.num_slots && (!isUsed || isUsed(i)))
      members[buffer.slot].push_back(buffer.bytes);
  }
  return members;
}

static int64_t rounded(int64_t bytes) {
  return (bytes + MOEC_WORKSPACE_ALIGN - 1) / MOEC_WORKSPACE_ALIGN * MOEC_WORKSPACE_ALIGN;
}

int64_t sharedWorkspaceBytes(const PlanTables &plan, int64_t numTokens, const BufferFilter &isUsed) {
  int64_t total = 0;
  auto slots = slotMembers(plan, isUsed);
  slots.resize(slots.size() - plan.header.num_report_slots);
  for (const auto &slot : slots) {
    int64_t largest = 0;
    for (moec_extent extent : slot)
      largest = std::max(largest, extent.per_token * numTokens + extent.per_sequence + extent.fixed);
    total += rounded(largest);
  }
  for (const moec_step &step : plan.steps)
    if (step.kind == MOEC_STEP_DISPATCH || step.kind == MOEC_STEP_SLOTS)
      total += rounded(4 * (int64_t(step.num_groups) + 1)) + 3 * rounded(4 * numTokens * step.choices);
  return total;
}

int64_t savedBytes(const PlanTables &plan, int64_t numTokens) {
  int64_t total = 0;
  for (const moec_buffer &buffer : plan.buffers)
    if (buffer.role >= MOEC_ROLE_SAVED)
      total += rounded(buffer.bytes.per_token * numTokens + buffer.bytes.per_sequence + buffer.bytes.fixed);
  return total;
}

int64_t workspaceBytes(const PlanTables &plan, int64_t numTokens, int64_t workers) {
  if (int64_t chunk = plan.header.chunk_tokens; chunk && chunk < numTokens)
    return workspaceBytes(plan, chunk, workers) + rounded(4 * int64_t(plan.header.num_experts));
  int64_t total = sharedWorkspaceBytes(plan, numTokens);
  int64_t items = plan.header.items.per_token * numTokens + plan.header.items.fixed;
  total += rounded((items + MOEC_ITEMS_PER_WORKER * workers + 1) * int64_t(sizeof(moec_item)));
  return total + workers * rounded(plan.header.scratch_bytes);
}

} // namespace moec
