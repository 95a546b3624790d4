// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of a search that are loaded at once: the default and candidates, with what was found of each.

#ifndef MOEC_CODEGEN_SEARCH_TUNEBATCH_H
#define MOEC_CODEGEN_SEARCH_TUNEBATCH_H

#include "codegen/emulate/LoadedObject.h"
#include "codegen/search/KernelTrial.h"
#include "codegen/search/TuneProof.h"
#include "codegen/search/TuneSearch.h"

#include <memory>
#include <vector>

namespace moec {

struct StageSearch::Batch {
  std::vector<ScheduleEntry> entries; // [0]: the default; the lists below are by entry
  std::unique_ptr<LoadedObject> loaded;
  std::unique_ptr<KernelTrial> trial;
  std::vector<TrialVerdict> verdicts;    // of check()
  std::vector<KernelTrial::Pairs> pairs; // microseconds of {default, candidate}; none of one that is not right

  TuneTimes timesOf(const KernelTrial::Pairs &pairs) const {
    return moec::timesOf(pairs, trial->flops(), trial->weightBytes());
  }
};

} // namespace moec

#endif
