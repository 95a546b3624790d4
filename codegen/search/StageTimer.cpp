// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/StageTimer.h"

#include "codegen/bench/Clocks.h"

#include <cstring>
#include <sys/mman.h>

namespace moec {

static constexpr size_t pageBytes = 4096;

StageTimer::StageTimer(StageMemory &memory, int64_t bytes)
    : memory(memory), scratch((size_t(bytes) + pageBytes - 1) / pageBytes * pageBytes + pageBytes),
      scratchBytes(scratch.size() - pageBytes) {}

double StageTimer::run(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  double begin = threadUs();
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return threadUs() - begin;
}

void StageTimer::touchScratch() { std::memset(scratch.data(), 0, scratchBytes); }

void StageTimer::protectScratch() const {
  mprotect(static_cast<char *>(scratch.data()) + scratchBytes, pageBytes, PROT_NONE);
}

std::vector<char> StageTimer::outputOf(moec_kernel_fn kernel, const StageMemory::Turn &turn) {
  memory.poisonOutput(turn);
  kernel(&turn.call, memory.args(), scratch.data(), 0, turn.call.num_items);
  return memory.outputOf(turn);
}

} // namespace moec
