// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of one stage, loaded -> the time of a turn of each, in interleaved rounds.

#ifndef MOEC_CODEGEN_SEARCH_STAGETIMER_H
#define MOEC_CODEGEN_SEARCH_STAGETIMER_H

#include "codegen/search/StageMemory.h"

#include "runtime/moec_abi.h"

#include <vector>

namespace moec {

// Processor time of a turn, in microseconds: other work on the machine does not lengthen it, except by the memory and
// caches that it uses as well.
class StageTimer {
public:
  StageTimer(StageMemory &memory, int64_t scratchBytes);
  bool ready() const { return scratch.data() && memory.ready(); }

  double run(moec_kernel_fn kernel, const StageMemory::Turn &turn);

  // Gives this process pages of its own for what kernels write.
  void touchScratch();
  // In a child process: an access to the page after the scratch ends it.
  void protectScratch() const;

  // Runs `kernel` on a poisoned output.
  std::vector<char> outputOf(moec_kernel_fn kernel, const StageMemory::Turn &turn);

private:
  StageMemory &memory;
  PageBuffer scratch; // and a page
  size_t scratchBytes;
};

} // namespace moec

#endif
