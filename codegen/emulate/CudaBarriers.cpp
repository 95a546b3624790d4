// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// barrier and mbarrier instructions -> who waits, who goes on, and what is ordered by it.

#include "codegen/emulate/CudaBlock.h"

#include "codegen/emulate/CudaMbarrier.h"

namespace moec {

void CudaBlock::barrier(const CudaInstruction &instruction) {
  CudaNamedBarrier &barrier = namedBarriers[instruction.n];
  uint32_t expected = instruction.threads ? instruction.threads : launch.threads;
  if (expected > launch.threads)
    stop("barrier " + std::to_string(instruction.n) + " over " + std::to_string(expected) + " threads of a block of " +
         std::to_string(launch.threads));
  if (!barrier.waiting.empty() && barrier.threads != expected)
    stop("barrier " + std::to_string(instruction.n) + " over " + std::to_string(expected) +
         " threads while others wait at it for " + std::to_string(barrier.threads));
  barrier.threads = expected;
  barrier.waiting.push_back(current->index);
  bool whole = expected == launch.threads;
  if (!whole)
    clocks.release(current->index, barrier.clock);
  if (barrier.waiting.size() < expected)
    return wait([&barrier, &instruction] {
      return "barrier " + std::to_string(instruction.n) + " (" + std::to_string(barrier.waiting.size()) + " of " +
             std::to_string(barrier.threads) + " threads)";
    });
  if (whole)
    clocks.barrierOfBlock();
  for (unsigned thread : barrier.waiting) {
    if (!whole)
      clocks.acquire(thread, barrier.clock);
    wake(thread);
  }
  barrier.waiting.clear();
  barrier.clock.clear();
}

CudaBarrierState &CudaBlock::mbarrierAt(uint64_t address, const char *what) {
  uint32_t offset = sharedOffset(address, 8, 8, what);
  auto found = mbarriers.find(offset);
  if (found == mbarriers.end())
    stop(std::string(what) + " shared offset " + std::to_string(offset) + ", where no mbarrier was initialised");
  CudaBarrierState &state = *found->second;
  if (!clocks.ordered(current->index, state.initEpoch))
    report(current->index, std::string(what) + " the mbarrier at " + std::to_string(offset) + ", which thread " +
                               std::to_string(state.initThread) + " initialised with no barrier between");
  return state;
}

void CudaBlock::completeIfDone(CudaBarrierState &state) {
  if (state.pending || state.bytes)
    return;
  ++state.phase;
  state.pending = state.count;
  state.completed.merge(state.arriving);
  state.arriving.clear();
  for (unsigned thread : state.waiting)
    wake(thread);
  state.waiting.clear();
}

void CudaBlock::arrive(CudaBarrierState &state, unsigned thread) {
  if (state.pending == 0) {
    report(thread, "arrives at the mbarrier at " + std::to_string(state.offset) + ", whose " +
                       std::to_string(state.count) + " arrivals of phase " + std::to_string(state.phase) + " all came");
    return;
  }
  --state.pending;
  completeIfDone(state);
}

static std::string describeWait(const CudaBarrierState &state, unsigned parity) {
  return "mbarrier " + std::to_string(state.offset) + " parity " + std::to_string(parity) + " (phase " +
         std::to_string(state.phase) + ", " + std::to_string(state.count - state.pending) + " of " +
         std::to_string(state.count) + " arrivals, " + std::to_string(state.bytes) + " bytes to come)";
}

void CudaBlock::initMbarrier(unsigned thread, uint32_t offset, uint32_t count) {
  if (count == 0 || count >= 1u << 20)
    stop("mbar_init with count " + std::to_string(count) + "; 1 to 1048575 are possible");
  if (mbarriers.count(offset))
    stop("mbar_init of the mbarrier at " + std::to_string(offset) + " a second time");
  shared.access(thread, offset, 8, CudaAccess::Write, "mbar_init writes");
  shared.markBarrier(offset);
  auto state = std::make_unique<CudaBarrierState>();
  state->offset = offset;
  state->count = count;
  state->pending = count;
  state->initEpoch = clocks.epoch(thread);
  state->initThread = thread;
  mbarriers[offset] = std::move(state);
}

void CudaBlock::mbarrier(const CudaInstruction &instruction, const uint64_t *operands) {
  unsigned thread = current->index;
  switch (instruction.opcode) {
  case CudaOpcode::MbarInit:
    return initMbarrier(thread, sharedOffset(operands[0], 8, 8, "mbar_init at"), uint32_t(operands[1]));
  case CudaOpcode::MbarArrive: {
    CudaBarrierState &state = mbarrierAt(operands[0], "mbar_arrive at");
    clocks.release(thread, state.arriving);
    return arrive(state, thread);
  }
  case CudaOpcode::MbarExpect: {
    CudaBarrierState &state = mbarrierAt(operands[0], "mbar_expect at");
    clocks.release(thread, state.arriving);
    state.bytes += uint32_t(operands[1]);
    return arrive(state, thread);
  }
  case CudaOpcode::MbarWait: {
    CudaBarrierState &state = mbarrierAt(operands[0], "mbar_wait at");
    unsigned parity = operands[1] & 1;
    while ((state.phase & 1) == parity) {
      state.waiting.push_back(thread);
      wait([&state, parity] { return describeWait(state, parity); });
    }
    return clocks.acquire(thread, state.completed);
  }
  case CudaOpcode::FenceAsync:
    clocks.fence(thread);
    [[fallthrough]];
  default: // fence_mbar_init
    for (auto &[offset, state] : mbarriers)
      state->fenced |= clocks.ordered(thread, state->initEpoch);
    return;
  }
}

} // namespace moec
