// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/StageTimer.h"

#include "codegen/bench/Clocks.h"

namespace moec {

StageTimer::StageTimer(StageMemory &memory, int64_t scratchBytes)
    : memory(memory), scratch(size_t(scratchBytes) + 4096) {}

double StageTimer::run(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  double begin = threadUs();
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return threadUs() - begin;
}

std::vector<char> StageTimer::outputOf(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  memory.poisonOutput(turn);
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return memory.outputOf(turn);
}

} // namespace moec
