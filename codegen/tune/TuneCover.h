// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Times of candidates in row classes -> few candidates that serve every class, and the rule which one runs when.

#ifndef MOEC_CODEGEN_TUNE_TUNECOVER_H
#define MOEC_CODEGEN_TUNE_TUNECOVER_H

#include "codegen/schedule/Schedule.h"
#include "codegen/tune/TuneRecord.h"

#include "llvm/ADT/ArrayRef.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace moec {

// times[class][candidate] in microseconds; nullopt: not measured, wrong, or illegal there. What is not a positive
// finite number counts as nullopt, and so do cells that a shorter row does not have.
using TimeMatrix = std::vector<std::vector<std::optional<double>>>;

struct TuneCover {
  static constexpr size_t none = size_t(-1);
  std::vector<size_t> candidates; // those that are used, ascending
  std::vector<size_t> ofClass;    // per class one of them; none: no candidate has a time there
};

// A candidate serves a class if its time there is at most (1 + loss) times the best of the class. Greedy: the candidate
// that serves most of the classes not yet served comes next; of equal ones that with the smaller sum of time / best
// over them, then the lower number. A candidate whose classes the others serve as well is taken out again. Every class
// gets the fastest of the candidates left; of equally fast ones that of the class before, then the lower number. The
// same matrix always gives the same cover. A loss that is negative or not a number counts as 0.
TuneCover coverClasses(const TimeMatrix &times, double loss);

// The rule as entries: classes, which follow each other without a gap, in; consecutive classes with one kernel merged,
// out. `kernels` are by candidate, `standards` by class, for classes without a candidate; the ranges of both are
// ignored. checkStage accepts the result if every kernel is legal for its classes and at most maxScheduleEntries are
// left. Error E-INTERNAL: the sizes do not fit together.
Result<std::vector<ScheduleEntry>> coverEntries(const TuneCover &cover, llvm::ArrayRef<TuneClass> classes,
                                                llvm::ArrayRef<ScheduleEntry> kernels,
                                                llvm::ArrayRef<ScheduleEntry> standards);
Result<std::vector<CudaEntry>> coverEntries(const TuneCover &cover, llvm::ArrayRef<TuneClass> classes,
                                            llvm::ArrayRef<CudaEntry> kernels, llvm::ArrayRef<CudaEntry> standards);

} // namespace moec

#endif
