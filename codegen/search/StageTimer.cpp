// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/StageTimer.h"

#include <ctime>

namespace moec {

StageTimer::StageTimer(StageMemory &memory, int64_t scratchBytes)
    : memory(memory), scratch(size_t(scratchBytes) + 4096) {}

static double processorUs() {
  timespec spent = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return double(spent.tv_sec) * 1e6 + double(spent.tv_nsec) * 1e-3;
}

double StageTimer::run(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  double begin = processorUs();
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return processorUs() - begin;
}

std::vector<char> StageTimer::outputOf(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  memory.poisonOutput(turn);
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return memory.outputOf(turn);
}

} // namespace moec
