// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The schedule that heuristics give a stage, and records -> the tuned schedule of the stage, with the source of every
// range.

#ifndef MOEC_CODEGEN_TUNE_TUNESCHEDULE_H
#define MOEC_CODEGEN_TUNE_TUNESCHEDULE_H

#include "codegen/schedule/CudaSchedule.h"
#include "codegen/schedule/Schedule.h"
#include "codegen/tune/TuneLookup.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace moec {

// Where the kernel of a range comes from.
struct TunedRange {
  TuneClass rows;
  std::optional<size_t> item; // of TuneSet::items; nullopt: heuristics
  DeviceMatch match = DeviceMatch::Exact;
  std::vector<TuneRejection> rejected; // the other records, one reason each; also a choice that the stage refused
};

template <typename Stage> struct TunedStage {
  Stage schedule; // equal neighbours merged; legal if `standard` was
  std::vector<TunedRange> ranges;
};

// Asks `set` for every range of `standard` and of the records. Sets query.target, and query.legal if it is null: an
// entry must be legal for the range of its record. A choice is also refused if it would cut an entry of `standard` so
// that the rest is illegal. `facts` and `standard` belong together, as cpuSchedule and cudaSchedule return them.
TunedStage<StageSchedule> tuneStage(const MatmulStage &facts, const StageSchedule &standard, const TuneSet &set,
                                    TuneQuery query);
TunedStage<CudaStage> tuneStage(const MatmulStage &facts, const CudaStage &standard, const TuneSet &set,
                                TuneQuery query);

// Where the kernel of a range comes from, for people: "layer.tune.jsonl:12, project, exact machine", "heuristics".
std::string originText(const TuneSet &set, const TunedRange &range);
// How many records were rejected, by reason: "12 stale, 1 wrong"; without those of other stages, targets and rows,
// which say nothing about these ranges. Empty: none.
std::string rejectedText(const std::vector<TunedRange> &ranges);

// A stage without facts and without heuristics: the ranges that the records of `set` cover, each as the best choice
// says, for `moec tunedb export`. The error, E-RECORD, says which rows no record covers.
Result<TunedStage<StageSchedule>> recordedStage(Isa isa, const TuneSet &set, TuneQuery query);
Result<TunedStage<CudaStage>> recordedStage(CudaArch arch, const TuneSet &set, TuneQuery query);

} // namespace moec

#endif
