// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// bench --against, --schedule-b and --tuning-b: two layers in one process, their calls alternating -> the ratio of
// their times.

#ifndef MOEC_CODEGEN_CLI_BENCHAGAINST_H
#define MOEC_CODEGEN_CLI_BENCHAGAINST_H

#include "BenchLayer.h"

#include "codegen/bench/PairReport.h"

namespace moec {

// Two subjects, with equal tokens -> pairs of their calls for each T. Prints errors and returns their exit code.
int measurePairs(Session &session, const BenchFlags &flags, const BenchSubject &a, const BenchSubject &b, PairRun &run);

// The second layer is flags.against, a spec or a package folder (by default the first one), with the schedule
// flags.scheduleB (by default the compiler's own) and the records flags.tuningB (by default those of the first). Prints
// the result, or errors whose exit code it returns.
int benchAgainst(Session &session, const BenchFlags &flags);

} // namespace moec

#endif
