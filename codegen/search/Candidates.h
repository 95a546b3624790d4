// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A schedule entry -> the legal entries that differ from it in one choice: the steps of the search.

#ifndef MOEC_CODEGEN_SEARCH_CANDIDATES_H
#define MOEC_CODEGEN_SEARCH_CANDIDATES_H

#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

struct CandidateSpace {
  std::string templatesDir;       // an overlay's kernels are candidates too
  bool otherNumerics = false;     // also those that change a result's bits
  std::vector<std::string> names; // templates of the CPU, filled by candidateSpace()
};
CandidateSpace candidateSpace(const std::string &templatesDir, bool otherNumerics);

// All neighbours of `from` for blocks of `rows` rows that checkEntry accepts, in a fixed order, without `from` itself;
// of those with equal code the first. Ranges are those of `from`. `mostRows`: the largest block that the range has;
// panel_m is this, rounded up to whole row blocks.
//
//     kernel          every template of the space
//     block_m         heights that waste at most an eighth of the rows; panel_m follows
//     tiles, hint     together: 1 and 2, none, t0, t1, nta
//     prefetch_block  every divisor of the steps from 2 to 128, streams 1 to 8, share 1 to 4, chunk 8 to 64
//     a_hint, out_hint  none, nta
//     numeric         fma and dot; amx as well if other numerics are allowed
std::vector<ScheduleEntry> neighbours(const MatmulStage &stage, Isa isa, const ScheduleEntry &from, int64_t rows,
                                      int64_t mostRows, const CandidateSpace &space);

// How many parameters of `from` have another value in `to`; the template and the numeric count as one each, panel_m,
// which follows from block_m, does not.
size_t countChanges(const ScheduleEntry &from, const ScheduleEntry &to);

// What `compile` takes without records and without a schedule, for the rows of `from`: a choice must not replace what
// it was not compared with. Nullopt: it is illegal there, or has other bits.
std::optional<ScheduleEntry> heuristicEntry(const MatmulStage &stage, Isa isa, const ScheduleEntry &from, int64_t rows,
                                            int64_t mostRows, const CandidateSpace &space);

} // namespace moec

#endif
