// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches -> blocks, run in random order. Owns device memory, catches faults, collects findings.

#ifndef MOEC_CODEGEN_EMULATE_CUDAMACHINE_H
#define MOEC_CODEGEN_EMULATE_CUDAMACHINE_H

#include "codegen/emulate/CudaBlock.h"

namespace moec {

// One device. Launches of all machines of the process run one at a time, on the calling thread.
class CudaMachine {
public:
  explicit CudaMachine(uint64_t seed) : block(seed, memory, findings) {}

  CudaMemory memory;
  CudaFindings findings;
  CudaBlock block;

  // Runs every block of the launch; false if it had findings. A finding after which the kernel cannot continue (a
  // fault, a deadlock, an access outside shared memory) ends the launch.
  bool launch(CudaLaunch launch);

private:
  uint32_t launches = 0;
};

} // namespace moec

// Entry points of compiled kernels; called only while a launch runs, on one of its fibres.
extern "C" {
void moec_emulate(const void *instruction, uint64_t *results, const uint64_t *operands);
void moec_emulate_shared_load(const void *address, uint32_t bytes, uint32_t align);
void moec_emulate_shared_store(const void *address, uint32_t bytes, uint32_t align);
void moec_emulate_shared_atomic(const void *address, uint32_t bytes, uint32_t align);
void moec_emulate_global_load(const void *address, uint32_t bytes, uint32_t align);
void moec_emulate_global_store(const void *address, uint32_t bytes, uint32_t align);
void moec_emulate_pause();
}

#endif
