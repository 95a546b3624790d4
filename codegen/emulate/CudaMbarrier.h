// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one mbarrier: phases, arrivals and transaction bytes, as the PTX ISA counts them.

#ifndef MOEC_CODEGEN_EMULATE_CUDAMBARRIER_H
#define MOEC_CODEGEN_EMULATE_CUDAMBARRIER_H

#include "codegen/emulate/CudaClocks.h"

#include <cstdint>
#include <vector>

namespace moec {

// A phase is complete when no arrival is pending and the bytes that arrived equal the bytes expected.
struct CudaBarrierState {
  uint32_t offset = 0, count = 0;
  int64_t pending = 0, bytes = 0; // bytes: expected minus arrived
  uint64_t phase = 0;             // phases completed
  uint32_t initEpoch = 0;
  unsigned initThread = 0;
  bool fenced = false;           // a fence made the initialisation visible to TMA
  CudaClock arriving, completed; // of the running phase, of all completed ones
  std::vector<unsigned> waiting; // threads
};

} // namespace moec

#endif
