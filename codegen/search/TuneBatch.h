// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of a search that are loaded at once: the default and candidates, with what was found of each.

#ifndef MOEC_CODEGEN_SEARCH_TUNEBATCH_H
#define MOEC_CODEGEN_SEARCH_TUNEBATCH_H

#include "codegen/emulate/LoadedObject.h"
#include "codegen/search/StageTimer.h"
#include "codegen/search/TuneSearch.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moec {

struct StageSearch::Batch {
  std::vector<ScheduleEntry> entries; // [0]: the default; the lists below are by entry
  std::unique_ptr<LoadedObject> loaded;
  std::vector<moec_kernel_fn> kernels;                       // equal for entries with equal code
  std::vector<std::string> wrongAt;                          // empty: right
  std::vector<std::vector<std::pair<double, double>>> pairs; // microseconds of {default, candidate}
  StageMemory::Turn turn;                                    // the last one
};

} // namespace moec

#endif
