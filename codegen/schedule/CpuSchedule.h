// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Facts of a stage and an instruction set in -> the default schedule.

#ifndef MOEC_CODEGEN_SCHEDULE_CPUSCHEDULE_H
#define MOEC_CODEGEN_SCHEDULE_CPUSCHEDULE_H

#include "codegen/schedule/Schedule.h"

namespace moec {

// The heuristic schedule, legal (S1 to S6) for every stage of 1 <= n, k <= 2^20 with the built-in templates. For
// Isa::Amx it uses numeric amx and for Isa::Avx512Bf16 numeric dot if input and weights are bf16; other types cannot,
// and the result is the schedule of Isa::Avx512, marked as such.
StageSchedule cpuSchedule(const MatmulStage &facts, Isa isa);

// Steps of one prefetched block for a panel of `steps` steps of `stepBytes` bytes: a divisor of `steps`, of lowKib to
// highKib KiB if there is one.
int64_t prefetchBlock(int64_t steps, int64_t stepBytes, int64_t lowKib, int64_t highKib);

} // namespace moec

#endif
