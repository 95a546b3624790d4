// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records -> what there is for every stage, target and machine, for `moec tunedb ls` and `show`.

#ifndef MOEC_CODEGEN_TUNE_TUNESUMMARY_H
#define MOEC_CODEGEN_TUNE_TUNESUMMARY_H

#include "codegen/tune/TuneSources.h"

#include <string>
#include <vector>

namespace moec {

// The records of one stage of a layer, one target and one machine.
struct TuneGroup {
  TuneStage stage;
  std::string target;
  TuneMachine machine;
  std::vector<size_t> items;                         // of TuneSet::items, in its order
  size_t ok = 0, wrong = 0, failed = 0, timeout = 0; // measurements
  size_t choices = 0, tuned = 0;                     // choices, and those that are not the default
  size_t stale = 0;                                  // records that are stale for `now`, of every kind

  bool cuda() const { return target.compare(0, 5, "cuda:") == 0; }
};

// In the order of their first records. Records of different specs with the same layer name, stage and shape are one
// group.
std::vector<TuneGroup> groupRecords(const TuneSet &set, const TuneStamp &now);

} // namespace moec

#endif
